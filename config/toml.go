package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/BurntSushi/toml"
)

// sections are the keys of each section of a TOML file, in the order in which
// they are read. Keys are as they are written here, in lower case.
var sections = map[string][]string{
	"": {"tunnel", "proxy", "forward", "gateway"},
	"tunnel": {
		"import", "name", "private_key", "private_key_file", "addresses", "dns", "search", "mtu",
		"congestion_control", "listen_port", "peer",
	},
	"tunnel.peer": {
		"public_key", "preshared_key", "preshared_key_file", "endpoint", "allowed_ips", "persistent_keepalive",
	},
	"proxy":   {"listen", "tunnel", "protocols", "users_file", "allow_clients"},
	"forward": {"listen", "tunnel", "target", "protocol", "allow_clients"},
	"gateway": {"tunnel", "allow"},
}

// later are keys that the format has, but not this version of the program.
var later = map[string][]string{
	"":       {"expose", "dns", "outside", "status"},
	"tunnel": {"uapi"},
}

// Keys are all keys of a TOML file with the sections that they belong to, as in
// "tunnel.peer.allowed_ips", in alphabetical order.
func Keys() []string {
	var all []string
	for kind, keys := range sections {
		for _, key := range keys {
			name := join(kind, key)
			if _, ok := sections[name]; !ok {
				all = append(all, name)
			}
		}
	}
	slices.Sort(all)
	return all
}

// A tomlParser reads a TOML file section by section into a configuration.
type tomlParser struct {
	file     string
	config   Config
	places   map[netip.AddrPort]Place // Of the listeners.
	secret   bool                     // The text itself holds one.
	warnings []Warning
}

// ParseTOML reads a configuration in TOML, of at most 8 MiB, and the files that
// it names: wg-quick files to import, keys, and users, whose relative paths are
// from the folder of name. The name is also what messages call the file. An
// error is an [Error] and tells of a single problem.
//
// A key that is not known is refused, and so is one in another spelling. A
// duration is a text like "25s" or a whole number of seconds. In a tunnel with
// an import, each key replaces what the wg-quick file gives, lists included:
// one [[tunnel.peer]] replaces all of its peers.
func ParseTOML(name string, text []byte) (Config, []Warning, error) {
	p, err := parseTOML(name, text)
	if err != nil {
		return Config{}, nil, err
	}
	return p.config, p.warnings, nil
}

func parseTOML(name string, text []byte) (*tomlParser, error) {
	clean, err := cleanText(name, text)
	if err != nil {
		return nil, err
	}
	lines, err := scan(name, clean)
	if err != nil {
		return nil, err
	}
	root := &table{file: name, lines: lines}
	if _, err := toml.Decode(clean, &root.values); err != nil {
		return nil, notTOML(name, err)
	}
	p := &tomlParser{file: name, places: make(map[netip.AddrPort]Place)}
	if err := root.each(p.readTop); err != nil {
		return nil, err
	}
	if len(p.config.Tunnels) == 0 {
		return nil, &Error{At: Place{File: name}, Cause: errors.New("there is no [[tunnel]] section"), Remedy: "is this the Wimble file?"}
	}
	return p, nil
}

// notTOML is the error for what package toml refuses. Of its own text only the
// line's number is told: the rest repeats parts of the line.
func notTOML(file string, err error) error {
	place := Place{File: file}
	var e toml.ParseError
	if errors.As(err, &e) {
		place.Line = e.Position.Line
	}
	return &Error{
		At:     place,
		Cause:  errors.New("this is not TOML (the line is not shown, it may hold a key)"),
		Remedy: `write texts like "a", lists like ["a", "b"], and each key and section once`,
	}
}

func (p *tomlParser) warn(at Place, format string, args ...any) {
	p.warnings = append(p.warnings, Warning{At: at, Text: fmt.Sprintf(format, args...)})
}

// readTop takes a value that stands in no section: the sections themselves.
func (p *tomlParser) readTop(v value) error {
	switch v.key {
	case "tunnel":
		return eachSection(v, p.addTunnel)
	case "proxy":
		return eachSection(v, p.addProxy)
	case "forward":
		return eachSection(v, p.addForward)
	}
	t, err := readSection(v) // "gateway"
	if err != nil {
		return err
	}
	return p.addGateway(t)
}

func eachSection(v value, add func(*table) error) error {
	tables, err := readSections(v)
	if err != nil {
		return err
	}
	for _, t := range tables {
		if err := add(t); err != nil {
			return err
		}
	}
	return nil
}

// path is where a file is that the configuration names.
func (p *tomlParser) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(p.file), name)
}
