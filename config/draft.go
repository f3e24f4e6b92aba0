package config

import (
	"errors"
	"fmt"
	"net/netip"
)

// tomlNames are the keys that the checks speak of in the spelling of TOML.
var tomlNames = map[string]string{
	keyPrivateKey:   "private_key",
	keyAddress:      "addresses",
	keyDNS:          "dns",
	keyMTU:          "mtu",
	keyListenPort:   "listen_port",
	keyPublicKey:    "public_key",
	keyPresharedKey: "preshared_key",
	keyEndpoint:     "endpoint",
	keyAllowedIPs:   "allowed_ips",
	keyKeepalive:    "persistent_keepalive",
}

// A draft is a tunnel of a TOML file that is being read.
type draft struct {
	*tomlParser
	tunnel   Tunnel
	table    *table
	imported *wireGuardParser // Nil for none.
	peers    []*table         // As many as tunnel.Peers, or nil when those are imported.
}

func (p *tomlParser) addTunnel(t *table) error {
	d := &draft{tomlParser: p, table: t}
	if err := t.each(d.read); err != nil {
		return err
	}
	if d.tunnel.Name == "" {
		d.tunnel.Name = tunnelName(p.file)
	}
	warnings, err := check(&d.tunnel, d.locate)
	if err != nil {
		return err
	}
	if err := d.compare(); err != nil {
		return err
	}
	p.warnings = append(p.warnings, warnings...)
	p.config.Tunnels = append(p.config.Tunnels, d.tunnel)
	return nil
}

// compare holds the tunnel against those above it.
func (d *draft) compare() error {
	for i, other := range d.config.Tunnels {
		if d.tunnel.Name == other.Name {
			return &Error{
				At:     d.table.place(d.table.given("name")),
				Cause:  fmt.Errorf("tunnel %d is called %s too", i+1, other.Name),
				Remedy: "give each tunnel a name of its own",
			}
		}
		if port := d.tunnel.ListenPort; port != 0 && port == other.ListenPort {
			return &Error{
				At:     d.locate(theInterface, keyListenPort, 0),
				Cause:  fmt.Errorf("tunnel %d has port %d already", i+1, port),
				Remedy: "choose another one, or 0 for any",
			}
		}
	}
	return nil
}

// locate is the [locator] of a tunnel, which may be from two files.
func (d *draft) locate(peer int, key string, i int) Place {
	t := d.table
	if peer != theInterface {
		if d.peers == nil {
			return d.imported.locate(peer, key, i)
		}
		t = d.peers[peer]
	}
	name := tomlNames[key]
	switch {
	case t.has(name):
		return t.itemPlace(name, i)
	case t.has(name + "_file"):
		return t.place(name + "_file")
	case d.imported != nil && peer == theInterface:
		return d.imported.locate(peer, key, i)
	}
	return t.place("")
}

// read takes a value of [[tunnel]].
func (d *draft) read(v value) (err error) {
	t := &d.tunnel
	switch v.key {
	case "import":
		return d.readImport(v)
	case "name":
		t.Name, err = readText(v, parseTunnelName)
	case "private_key":
		d.secret = true
		t.PrivateKey, err = readText(v, parsePrivateKey)
	case "private_key_file":
		t.PrivateKey, err = readKeyFile(d.tomlParser, v, "private_key", parsePrivateKey)
	case "addresses":
		t.Addresses, err = readList(v, parseAddress)
	case "dns":
		t.DNS, err = readList(v, parseDNSAddr)
	case "search":
		t.Search, err = readList(v, parseSearch)
	case "mtu":
		t.MTU, err = readNumber(v, parseMTU)
	case "congestion_control":
		t.CongestionControl, err = readText(v, parseCongestionControl)
	case "listen_port":
		t.ListenPort, err = readNumber(v, parsePort)
	case "peer":
		return d.readPeers(v)
	}
	return err
}

// readImport takes the wg-quick file that the tunnel begins with.
func (d *draft) readImport(v value) error {
	name, err := readText(v, parseFilled)
	if err != nil {
		return err
	}
	s, err := readRegular(d.path(name), maxSize)
	if err != nil {
		return inFile(v, name, err)
	}
	d.imported, err = parseWireGuard(s.name, s.text)
	if err != nil {
		return err
	}
	d.tunnel = d.imported.tunnel
	d.warnings = append(d.warnings, d.imported.warnings...)
	d.warnings = append(d.warnings, s.exposed()...)
	return nil
}

// readPeers takes all [[tunnel.peer]] of the tunnel.
func (d *draft) readPeers(v value) (err error) {
	if d.peers, err = readSections(v); err != nil {
		return err
	}
	d.tunnel.Peers = make([]Peer, len(d.peers))
	for i, t := range d.peers {
		peer := &d.tunnel.Peers[i]
		if err := t.each(func(v value) error { return d.readPeer(peer, v) }); err != nil {
			return err
		}
	}
	return nil
}

// readPeer takes a value of [[tunnel.peer]].
func (d *draft) readPeer(peer *Peer, v value) (err error) {
	switch v.key {
	case "public_key":
		peer.PublicKey, err = readText(v, parsePublicKey)
	case "preshared_key":
		d.secret = true
		peer.PresharedKey, err = readText(v, parsePresharedKey)
	case "preshared_key_file":
		peer.PresharedKey, err = readKeyFile(d.tomlParser, v, "preshared_key", parsePresharedKey)
	case "endpoint":
		peer.Endpoint, err = readText(v, parseEndpoint)
	case "allowed_ips":
		peer.AllowedIPs, err = readList(v, parseAllowedNetwork)
	case "persistent_keepalive":
		peer.PersistentKeepalive, err = readDuration(v, checkKeepalive)
	}
	return err
}

// parseAllowedNetwork reads one network of a peer, and is stricter than wg:
// who writes a new file can write what is meant.
func parseAllowedNetwork(s string) (netip.Prefix, error) {
	prefix, err := parseAllowedIP(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return masked(prefix)
}

// parseDNSAddr reads the address of a name server.
func parseDNSAddr(s string) (netip.Addr, error) {
	server, domain, err := parseDNS(s)
	if err == nil && domain != "" {
		err = &Error{Cause: fmt.Errorf("%s is not an address", quote(s)), Remedy: "put search domains under search"}
	}
	return server, err
}

// parseSearch reads a search domain.
func parseSearch(s string) (string, error) {
	if !isName(s) {
		return "", &Error{Cause: fmt.Errorf("%s is not a domain", quote(s)), Remedy: "write it like corp.example"}
	}
	return s, nil
}

// parseCongestionControl reads what TCP connections in the tunnel use.
func parseCongestionControl(s string) (string, error) {
	switch s {
	case "cubic", "reno":
		return s, nil
	case "auto":
		return "", nil
	}
	return "", &Error{Cause: fmt.Errorf("%s is not a congestion control", quote(s)), Remedy: `write "auto", "cubic" or "reno"`}
}

// longestName is how many bytes the name of a tunnel may have: few enough for
// the path of a socket to hold it, and to be told from a key.
const longestName = 30

// parseTunnelName reads a name that can be part of a path and of a user's name.
func parseTunnelName(s string) (string, error) {
	ok := s != "" && len(s) <= longestName && s[0] != '.' && s[0] != '-'
	for i := range len(s) {
		ok = ok && (isWord(s[i]) || s[i] == '.')
	}
	if !ok {
		return "", &Error{
			Cause:  fmt.Errorf("%s is no name for a tunnel", quote(s)),
			Remedy: fmt.Sprintf("take 1 to %d letters, digits, dots, - and _, with a letter first", longestName),
		}
	}
	return s, nil
}

// parseFilled reads a path or a name that is given elsewhere.
func parseFilled(s string) (string, error) {
	if s == "" {
		return "", &Error{Cause: errors.New("this text is empty"), Remedy: "write one or remove the line"}
	}
	return s, nil
}
