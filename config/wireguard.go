package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
)

// The keys of a wg-quick file, as wg(8) and wg-quick(8) spell them. Those of the
// host configure what a userspace tunnel leaves alone: commands, routes,
// firewall marks, and with the last two what the Android app sends through it.
var (
	peerKeys      = []string{keyPublicKey, keyPresharedKey, keyEndpoint, keyAllowedIPs, keyKeepalive}
	interfaceKeys = append([]string{keyPrivateKey, keyAddress, keyDNS, keyMTU, keyListenPort}, hostKeys...)
	hostKeys      = []string{
		"FwMark", "Table", "PreUp", "PostUp", "PreDown", "PostDown", "SaveConfig",
		"IncludedApplications", "ExcludedApplications",
	}
	listKeys = []string{keyAddress, keyDNS, keyAllowedIPs}
)

const (
	titleInterface = "Interface"
	titlePeer      = "Peer"
)

// A section is a section of a wg-quick file and where its values stand.
type section struct {
	title    string                // "Interface", "Peer 2".
	line     int                   // Of its header; 0 when there is none.
	keys     []string              // What may stand in it.
	lines    map[string][]int      // For each key the lines of its values that the checks ask for.
	networks map[netip.Prefix]bool // The AllowedIPs.
}

// A wireGuardParser reads a wg-quick file line by line into a tunnel.
type wireGuardParser struct {
	file     string
	line     int
	tunnel   Tunnel
	iface    *section
	peers    []*section // As many as tunnel.Peers.
	current  *section   // Nil above the first header.
	unused   []string   // Keys of the host that occur, and the line of the first.
	unusedAt Place
	warnings []Warning
}

// ParseWireGuard reads the text of a wg-quick(8) file, of at most 8 MiB. The
// name is what messages call the file, a path for instance; the tunnel is named
// after its last part. An error is an [Error] and tells of the first problem.
//
// Sections, keys and "off" are read in any case, repeated lists add up, and a
// comment begins with "#". Unlike wg and wg-quick it refuses a key that is
// given twice and has one value, and a network that two peers have; it accepts
// lists with blanks for commas, with holes or with nothing. What configures the
// host, as PostUp and Table, is not used, which one warning says.
func ParseWireGuard(name string, text []byte) (Tunnel, []Warning, error) {
	p, err := parseWireGuard(name, text)
	if err != nil {
		return Tunnel{}, nil, err
	}
	warnings, err := check(&p.tunnel, p.locate)
	if err != nil {
		return Tunnel{}, nil, err
	}
	return p.tunnel, append(p.warnings, warnings...), nil
}

// parseWireGuard reads every value of a file, and leaves it to the caller to
// check them against each other.
func parseWireGuard(name string, text []byte) (*wireGuardParser, error) {
	clean, err := cleanText(name, text)
	if err != nil {
		return nil, err
	}
	p := &wireGuardParser{
		file:   name,
		tunnel: Tunnel{Name: tunnelName(name)},
		iface:  newSection(titleInterface, interfaceKeys),
	}
	for line := range strings.Lines(clean) {
		p.line++
		if err := p.readLine(line); err != nil {
			return nil, err
		}
	}
	if p.iface.line == 0 {
		return nil, &Error{
			At:     Place{File: name},
			Cause:  errors.New("there is no [Interface] section"),
			Remedy: "is this the WireGuard file?",
		}
	}
	p.warnUnused()
	return p, nil
}

func newSection(title string, keys []string) *section {
	return &section{
		title:    title,
		keys:     keys,
		lines:    make(map[string][]int),
		networks: make(map[netip.Prefix]bool),
	}
}

// place is where the current line's key stands.
func (p *wireGuardParser) place(key string) Place {
	place := Place{File: p.file, Line: p.line, Key: key}
	if p.current != nil {
		place.Section = p.current.title
	}
	return place
}

// locate is the [locator] of a file that has been read.
func (p *wireGuardParser) locate(peer int, key string, i int) Place {
	s := p.iface
	if peer != theInterface {
		s = p.peers[peer]
	}
	place := Place{File: p.file, Line: s.line, Section: s.title}
	if lines := s.lines[key]; i < len(lines) {
		place.Line, place.Key = lines[i], key
	}
	return place
}

// readLine takes one line. No message repeats a line that is not understood:
// it may be a key that lost its name.
func (p *wireGuardParser) readLine(line string) error {
	line, _, _ = strings.Cut(line, "#")
	line = strings.TrimSpace(line)
	name, value, found := strings.Cut(line, "=")
	switch {
	case line == "":
		return nil
	case line[0] == ';':
		return &Error{At: p.place(""), Cause: errors.New("this line begins with ;"), Remedy: "begin comments with #"}
	case line[0] == '[':
		return p.readHeader(line)
	case !found:
		return &Error{
			At:     p.place(""),
			Cause:  errors.New("there is no = in this line (not shown, it may be a key)"),
			Remedy: "write it like Address = 10.0.0.2/32, or begin a comment with #",
		}
	}
	return p.readValue(strings.TrimSpace(name), strings.TrimSpace(value))
}

func (p *wireGuardParser) readHeader(line string) error {
	name, closed := strings.CutSuffix(line[1:], "]")
	name = strings.TrimSpace(name)
	p.current = nil
	switch {
	case !closed:
		return &Error{At: p.place(""), Cause: errors.New("this section's name does not end with ]"), Remedy: "write [Interface] or [Peer]"}
	case strings.EqualFold(name, titleInterface):
		p.current = p.iface
	case strings.EqualFold(name, titlePeer):
		p.tunnel.Peers = append(p.tunnel.Peers, Peer{})
		p.peers = append(p.peers, newSection(fmt.Sprintf("%s %d", titlePeer, len(p.tunnel.Peers)), peerKeys))
		p.current = p.peers[len(p.peers)-1]
	default:
		if err := foreignSection(p.place(""), name); err != nil {
			return err
		}
		return unknown(p.place(""), "section", name, []string{titleInterface, titlePeer}, isHarmless(name))
	}
	if p.current.line == 0 {
		p.current.line = p.line
	}
	return nil
}

// readValue takes a line of the form name = value.
func (p *wireGuardParser) readValue(name, value string) error {
	if p.current == nil {
		return &Error{At: p.place(""), Cause: errors.New("this line stands above the first section"), Remedy: "put [Interface] or [Peer] above it"}
	}
	key := find(p.current.keys, name)
	switch {
	case key == "":
		return p.unknownKey(name, value)
	case slices.Contains(hostKeys, key):
		p.notUsed(key)
		return nil
	case slices.Contains(listKeys, key):
		return p.readList(key, value)
	case value == "":
		return &Error{At: p.place(key), Cause: errors.New("there is no value"), Remedy: "write one or remove the line"}
	case len(p.current.lines[key]) > 0:
		return &Error{At: p.place(key), Cause: fmt.Errorf("line %d gives it already", p.current.lines[key][0]), Remedy: "keep one of the two"}
	}
	p.noteLine(key)
	if err := p.set(key, value); err != nil {
		return at(p.place(key), err)
	}
	return nil
}

// set takes the value of a key that has one.
func (p *wireGuardParser) set(key, value string) (err error) {
	t := &p.tunnel
	switch key {
	case keyPrivateKey:
		t.PrivateKey, err = parsePrivateKey(value)
	case keyMTU:
		t.MTU, err = parseMTU(value)
	case keyListenPort:
		t.ListenPort, err = parsePort(value)
	case keyPublicKey:
		p.peer().PublicKey, err = parsePublicKey(value)
	case keyPresharedKey:
		p.peer().PresharedKey, err = parsePresharedKey(value)
	case keyEndpoint:
		p.peer().Endpoint, err = parseEndpoint(value)
	case keyKeepalive:
		p.peer().PersistentKeepalive, err = parseKeepalive(value)
	}
	return err
}

// peer is the one that is being read.
func (p *wireGuardParser) peer() *Peer {
	return &p.tunnel.Peers[len(p.tunnel.Peers)-1]
}

// readList takes the value of a key that has several, separated by commas or,
// as wg-quick reads it, by blanks.
func (p *wireGuardParser) readList(key, value string) (err error) {
	separates := func(r rune) bool { return r == ',' || unicode.IsSpace(r) }
	for item := range strings.FieldsFuncSeq(value, separates) {
		switch key {
		case keyAddress:
			err = p.addAddress(item)
		case keyDNS:
			err = p.addDNS(item)
		case keyAllowedIPs:
			err = p.addAllowedIP(item)
		}
		if err != nil {
			return at(p.place(key), err)
		}
	}
	return nil
}

func (p *wireGuardParser) addAddress(item string) error {
	address, err := parseAddress(item)
	if err != nil {
		return err
	}
	p.tunnel.Addresses = append(p.tunnel.Addresses, address)
	p.noteLine(keyAddress)
	return nil
}

func (p *wireGuardParser) addDNS(item string) error {
	if strings.HasPrefix(item, "~") {
		p.warn(keyDNS, fmt.Sprintf("%s is a routing domain of systemd-resolved and not used: every name is looked up in the tunnel", quote(item)))
		return nil
	}
	server, domain, err := parseDNS(item)
	switch {
	case err != nil:
		return err
	case domain != "":
		p.tunnel.Search = append(p.tunnel.Search, domain)
	default:
		p.tunnel.DNS = append(p.tunnel.DNS, server)
	}
	return nil
}

// addAllowedIP cuts the bits behind the length and drops repetitions, as wg does.
func (p *wireGuardParser) addAllowedIP(item string) error {
	given, err := parseAllowedIP(item)
	if err != nil {
		return err
	}
	network := given.Masked()
	if network != given {
		p.warn(keyAllowedIPs, fmt.Sprintf("%s has bits set behind its length and is taken as %s", given, network))
	}
	if !p.current.networks[network] {
		p.current.networks[network] = true
		p.peer().AllowedIPs = append(p.peer().AllowedIPs, network)
		p.noteLine(keyAllowedIPs)
	}
	return nil
}

// noteLine remembers where the value that was just added stands.
func (p *wireGuardParser) noteLine(key string) {
	p.current.lines[key] = append(p.current.lines[key], p.line)
}

func (p *wireGuardParser) warn(key, text string) {
	p.warnings = append(p.warnings, Warning{At: p.place(key), Text: text})
}

func (p *wireGuardParser) notUsed(key string) {
	if len(p.unused) == 0 {
		p.unusedAt = p.place("")
	}
	if !slices.Contains(p.unused, key) {
		p.unused = append(p.unused, key)
	}
}

func (p *wireGuardParser) warnUnused() {
	if len(p.unused) > 0 {
		p.warnings = append(p.warnings, Warning{
			At:   p.unusedAt,
			Text: "not used: " + strings.Join(p.unused, ", ") + " (no command is run and nothing of the host is changed)",
		})
	}
}

// unknownKey is the error for a key that the section does not have.
func (p *wireGuardParser) unknownKey(name, value string) error {
	title, elsewhere := titlePeer, find(peerKeys, name)
	if elsewhere == "" {
		title, elsewhere = titleInterface, find(interfaceKeys, name)
	}
	if elsewhere == "" {
		if err := foreignKey(p.place(""), name); err != nil {
			return err
		}
		// The first "=" may be the end of a key in base64.
		harmless := isHarmless(name) && value != "" && !strings.Contains(value, "=")
		return unknown(p.place(""), "key", name, p.current.keys, harmless)
	}
	return &Error{
		At:     p.place(""),
		Cause:  fmt.Errorf("%s is a key of [%s]", elsewhere, title),
		Remedy: "move the line there",
	}
}

// find is the key of the list that equals name in any case, or "".
func find(keys []string, name string) string {
	for _, key := range keys {
		if strings.EqualFold(key, name) {
			return key
		}
	}
	return ""
}
