package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// longestList is how many items of a list are told one by one.
const longestList = 8

// Describe says in words what happens with a configuration: what is reached,
// who may connect, where names are looked up, and what leaves outside the
// tunnels. It has a line for each, holds no secret, and ends with a newline.
func Describe(c Config) string {
	var b strings.Builder
	for i := range c.Tunnels {
		describeTunnel(&b, &c.Tunnels[i])
	}
	for _, p := range c.Proxies {
		var names []string
		for _, protocol := range p.Protocols {
			names = append(names, strings.ToUpper(string(protocol)))
		}
		fmt.Fprintf(&b, "proxy %s: %s into tunnel %s, for %s\n", p.Listen, list(names), p.Tunnel, clients(p.Listen, p.AllowClients, len(p.Users)))
	}
	for _, f := range c.Forwards {
		fmt.Fprintf(&b, "forward %s: to %s in tunnel %s, for %s\n", f.Listen, f.Target, f.Tunnel, clients(f.Listen, f.AllowClients, 0))
	}
	if len(c.Proxies)+len(c.Forwards) == 0 {
		b.WriteString("listeners: none\n")
	}
	if c.Gateway != nil {
		describeGateway(&b, c.Gateway)
	}
	describeOutside(&b, &c)
	return b.String()
}

func describeTunnel(b *strings.Builder, t *Tunnel) {
	fmt.Fprintf(b, "tunnel %s: our address is %s, our public key %s\n", t.Name, list(texts(t.Addresses)), t.PrivateKey.Public())
	for i, p := range t.Peers {
		if i == longestList {
			fmt.Fprintf(b, "  and %d more peers\n", len(t.Peers)-i)
			break
		}
		where := "when it calls"
		if p.Endpoint != "" {
			where = "at " + p.Endpoint
		}
		what := "nothing"
		if len(p.AllowedIPs) > 0 {
			what = list(texts(p.AllowedIPs))
		}
		fmt.Fprintf(b, "  peer %s %s: reaches %s\n", p.PublicKey.Short(), where, what)
	}
	if t.CongestionControl != "" {
		fmt.Fprintf(b, "  congestion control: %s for every TCP connection in the tunnel\n", t.CongestionControl)
	}
	if len(t.DNS) == 0 {
		b.WriteString("  names: refused, as the tunnel has no name server; addresses work\n")
		return
	}
	fmt.Fprintf(b, "  names: looked up in the tunnel, at %s", list(texts(t.DNS)))
	if len(t.Search) > 0 {
		fmt.Fprintf(b, ", also within %s", list(t.Search))
	}
	b.WriteString("\n")
}

// clients says who may connect to a listener.
func clients(listen netip.AddrPort, allowed []netip.Prefix, users int) string {
	who := "everybody who reaches it"
	switch {
	case len(allowed) > 0:
		who = "clients in " + list(texts(allowed))
	case listen.Addr().IsLoopback():
		who = "programs on this host"
	}
	switch users {
	case 0:
		return who + ", without a password"
	case 1:
		return who + ", with the password of the one user"
	}
	return fmt.Sprintf("%s, with the password of one of %d users", who, users)
}

func describeGateway(b *strings.Builder, g *Gateway) {
	if len(g.Allow) == 0 {
		fmt.Fprintf(b, "gateway: peers of tunnel %s reach nothing through this host\n", g.Tunnel)
		return
	}
	var rules []string
	for _, r := range g.Allow {
		ports := "port " + r.ports()
		switch {
		case r.ports() == "*":
			ports = "all ports"
		case r.FirstPort != r.LastPort:
			ports = "ports " + r.ports()
		}
		rules = append(rules, fmt.Sprintf("%s (%s)", r.Network, ports))
	}
	fmt.Fprintf(b, "gateway: peers of tunnel %s reach %s through this host\n", g.Tunnel, list(rules))
}

// describeOutside says what does not go through a tunnel: of what clients ask
// for, nothing.
func describeOutside(b *strings.Builder, c *Config) {
	b.WriteString("outside the tunnels: nothing")
	if c.Gateway != nil {
		b.WriteString(" but what the gateway is asked for")
	}
	b.WriteString("\n")

	var endpoints, names []string
	for _, t := range c.Tunnels {
		for _, p := range t.Peers {
			if p.Endpoint == "" {
				continue
			}
			endpoints = append(endpoints, p.Endpoint)
			if _, err := netip.ParseAddrPort(p.Endpoint); err != nil {
				names = append(names, p.Endpoint[:strings.LastIndexByte(p.Endpoint, ':')])
			}
		}
	}
	if len(endpoints) > 0 {
		fmt.Fprintf(b, "the tunnels themselves: encrypted UDP to %s\n", list(distinct(endpoints)))
	}
	if len(names) > 0 {
		fmt.Fprintf(b, "the host's resolver: is asked for %s, to find that\n", list(distinct(names)))
	}
}

// distinct sorts items and drops repetitions.
func distinct(items []string) []string {
	slices.Sort(items)
	return slices.Compact(items)
}

// list is items as a sentence has them.
func list(items []string) string {
	if more := len(items) - longestList; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(items[:longestList], ", "), more)
	}
	if len(items) < 2 {
		return strings.Join(items, "")
	}
	last := len(items) - 1
	return strings.Join(items[:last], ", ") + " and " + items[last]
}

func texts[T fmt.Stringer](items []T) []string {
	all := make([]string, len(items))
	for i, item := range items {
		all[i] = item.String()
	}
	return all
}
