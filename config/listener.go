package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

func (p *tomlParser) addProxy(t *table) error {
	proxy := Proxy{Protocols: []Protocol{HTTP, SOCKS5}}
	if err := t.each(func(v value) error { return p.readProxy(&proxy, v) }); err != nil {
		return err
	}
	guarded := len(proxy.Users) > 0 || len(proxy.AllowClients) > 0
	if err := p.checkListen(t, proxy.Listen, guarded, "users_file or allow_clients"); err != nil {
		return err
	}
	if len(proxy.Users) == 0 {
		p.warnOpen(t, proxy.AllowClients)
	}
	tunnel, err := p.tunnelOf(t, proxy.Tunnel)
	if err != nil {
		return err
	}
	proxy.Tunnel = tunnel.Name
	p.config.Proxies = append(p.config.Proxies, proxy)
	return nil
}

// readProxy takes a value of [[proxy]].
func (p *tomlParser) readProxy(proxy *Proxy, v value) (err error) {
	switch v.key {
	case "listen":
		proxy.Listen, err = readText(v, parseListen)
	case "tunnel":
		proxy.Tunnel, err = readText(v, parseFilled)
	case "protocols":
		proxy.Protocols, err = readProtocols(v)
	case "users_file":
		proxy.Users, err = p.readUsers(v)
	case "allow_clients":
		proxy.AllowClients, err = readClients(v)
	}
	return err
}

func (p *tomlParser) addForward(t *table) error {
	var forward Forward
	if err := t.each(func(v value) error { return p.readForward(&forward, v) }); err != nil {
		return err
	}
	if err := p.checkListen(t, forward.Listen, len(forward.AllowClients) > 0, "allow_clients"); err != nil {
		return err
	}
	p.warnOpen(t, forward.AllowClients)
	if forward.Target == "" {
		return &Error{At: t.place(""), Cause: errors.New("no target is given"), Remedy: "add the address and port behind the tunnel, like target = \"10.0.0.5:5432\""}
	}
	tunnel, err := p.tunnelOf(t, forward.Tunnel)
	if err != nil {
		return err
	}
	forward.Tunnel = tunnel.Name
	if _, err := netip.ParseAddrPort(forward.Target); err != nil && len(tunnel.DNS) == 0 {
		p.warn(t.place("target"), "tunnel %s has no name server, so this name can't be looked up: add dns to the tunnel, or write an address", tunnel.Name)
	}
	p.config.Forwards = append(p.config.Forwards, forward)
	return nil
}

// readForward takes a value of [[forward]].
func (p *tomlParser) readForward(forward *Forward, v value) (err error) {
	switch v.key {
	case "listen":
		forward.Listen, err = readText(v, parseListen)
	case "tunnel":
		forward.Tunnel, err = readText(v, parseFilled)
	case "target":
		forward.Target, err = readText(v, parseTarget)
	case "protocol":
		_, err = readText(v, parseTransport)
	case "allow_clients":
		forward.AllowClients, err = readClients(v)
	}
	return err
}

func (p *tomlParser) addGateway(t *table) error {
	gateway := new(Gateway)
	if err := t.each(func(v value) error { return p.readGateway(gateway, v) }); err != nil {
		return err
	}
	tunnel, err := p.tunnelOf(t, gateway.Tunnel)
	if err != nil {
		return err
	}
	gateway.Tunnel = tunnel.Name
	if len(gateway.Allow) == 0 {
		p.warn(t.place(t.given("allow")), "nothing is allowed, so the gateway refuses everything")
	}
	p.config.Gateway = gateway
	return nil
}

// readGateway takes a value of [gateway].
func (p *tomlParser) readGateway(gateway *Gateway, v value) (err error) {
	switch v.key {
	case "tunnel":
		gateway.Tunnel, err = readText(v, parseFilled)
	case "allow":
		gateway.Allow, err = readList(v, parseRule)
	}
	return err
}

// checkListen refuses a listener without an address, with one that another has,
// and one that others than this host reach, unless it is guarded. The keys are
// those that can guard it.
func (p *tomlParser) checkListen(t *table, listen netip.AddrPort, guarded bool, keys string) error {
	place := t.place(t.given("listen"))
	if !listen.IsValid() {
		return &Error{At: place, Cause: errors.New("no address to listen on is given"), Remedy: `add one, like listen = "127.0.0.1:1080"`}
	}
	if other, taken := p.places[listen]; taken {
		return &Error{At: place, Cause: fmt.Errorf("%s listens on %s already", other.Section, listen), Remedy: "choose another port"}
	}
	if !guarded && !listen.Addr().IsLoopback() {
		return &Error{
			At:     place,
			Cause:  fmt.Errorf("others who reach %s could use the tunnel", listen),
			Remedy: "listen on 127.0.0.1 or [::1], or say with " + keys + " who may connect",
		}
	}
	p.places[listen] = place
	return nil
}

// warnOpen warns of clients that may be anybody.
func (p *tomlParser) warnOpen(t *table, clients []netip.Prefix) {
	if i := slices.IndexFunc(clients, func(c netip.Prefix) bool { return c.Bits() == 0 }); i >= 0 {
		p.warn(t.itemPlace("allow_clients", i), "%s is everybody: whoever reaches this listener can use the tunnel", clients[i])
	}
}

// tunnelOf is the tunnel of this name, or the first for "".
func (p *tomlParser) tunnelOf(t *table, name string) (*Tunnel, error) {
	var names []string
	for i := range p.config.Tunnels {
		tunnel := &p.config.Tunnels[i]
		if tunnel.Name == name || name == "" {
			return tunnel, nil
		}
		names = append(names, tunnel.Name)
	}
	e := &Error{At: t.place(t.given("tunnel")), Cause: fmt.Errorf("there is no tunnel %s", quote(name)), Remedy: "there is " + strings.Join(names, ", ")}
	switch {
	case len(names) == 0:
		e.Cause, e.Remedy = errors.New("there is no tunnel"), "add a [[tunnel]] section"
	case suggest(name, names) != "":
		e.Remedy = "did you mean " + suggest(name, names) + "?"
	}
	return nil, e
}

// readClients reads networks; an empty list would allow nobody or everybody,
// which its writer may see differently.
func readClients(v value) ([]netip.Prefix, error) {
	clients, err := readList(v, parseNetwork)
	if err == nil && len(clients) == 0 {
		err = v.refuse("write the networks whose clients may connect, or remove the line", "the list is empty")
	}
	return clients, err
}

func readProtocols(v value) ([]Protocol, error) {
	protocols, err := readList(v, parseProtocol)
	switch {
	case err != nil:
		return nil, err
	case len(protocols) == 0:
		return nil, v.refuse("remove the line for both", "the list is empty")
	}
	slices.Sort(protocols)
	return slices.Compact(protocols), nil
}

// parseListen reads the address and port of a listener.
func parseListen(s string) (netip.AddrPort, error) {
	const remedy = "write it like 127.0.0.1:1080, [::1]:1080, or 0.0.0.0:1080 for all addresses of this host"
	if strings.HasPrefix(s, "unix:") {
		return netip.AddrPort{}, &Error{Cause: errors.New("this version of wimble does not listen on unix sockets yet"), Remedy: remedy}
	}
	text := s
	if port, ok := strings.CutPrefix(s, "localhost:"); ok {
		text = "127.0.0.1:" + port
	}
	listen, err := netip.ParseAddrPort(text)
	if err != nil {
		return netip.AddrPort{}, &Error{Cause: fmt.Errorf("%s is not an IP address with a port", quote(s)), Remedy: remedy}
	}
	return netip.AddrPortFrom(listen.Addr().Unmap(), listen.Port()), nil
}

// parseTarget reads host:port of a place behind a tunnel.
func parseTarget(s string) (string, error) {
	target, err := parseEndpoint(s)
	if literal, notAddr := netip.ParseAddrPort(target); notAddr == nil && (literal.Addr().Zone() != "" || literal.Addr().IsUnspecified()) {
		err = &Error{Cause: fmt.Errorf("%s is no address of one host behind a tunnel", quote(s))}
	}
	var e *Error
	if errors.As(err, &e) {
		e.Remedy = "write it like db.internal:5432, 10.0.0.5:5432 or [fd00::5]:5432"
		return "", e
	}
	return target, nil
}

// parseProtocol reads what clients of a proxy may speak.
func parseProtocol(s string) (Protocol, error) {
	switch p := Protocol(s); p {
	case SOCKS5, HTTP:
		return p, nil
	}
	return "", &Error{Cause: fmt.Errorf("%s is not a protocol of the proxy", quote(s)), Remedy: fmt.Sprintf("write %q or %q", SOCKS5, HTTP)}
}

// parseTransport reads what a forward carries, of which there is one so far.
func parseTransport(s string) (string, error) {
	switch s {
	case "tcp":
		return s, nil
	case "udp":
		return "", &Error{Cause: errors.New("this version of wimble does not forward UDP yet"), Remedy: `write "tcp" or remove the section`}
	}
	return "", &Error{Cause: fmt.Errorf("%s is not a protocol to forward", quote(s)), Remedy: `write "tcp"`}
}
