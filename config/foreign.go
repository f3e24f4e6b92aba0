package config

import "fmt"

// The formats that other programs made of a wg-quick file, by what they add to it.
var extensions = []struct {
	program  string
	sections []string
	keys     []string
	remedy   string
}{
	{
		program:  "wireproxy",
		sections: []string{"Socks5", "http", "TCPClientTunnel", "TCPServerTunnel", "STDIOTunnel"},
		remedy:   "keep [Interface] and [Peer] in this file, and give this to wimble.toml; the README says how (Coming from wireproxy)",
	},
	{
		program: "AmneziaWG",
		keys:    []string{"Jc", "Jmin", "Jmax", "S1", "S2", "S3", "S4", "H1", "H2", "H3", "H4", "I1", "I2", "I3", "I4", "I5"},
		remedy:  "ask for a file for plain WireGuard: with these keys the other end speaks a protocol of its own",
	},
}

// foreignSection is the error for a section that another program's format has, or nil.
func foreignSection(place Place, name string) error {
	for _, f := range extensions {
		if section := find(f.sections, name); section != "" {
			return &Error{At: place, Cause: fmt.Errorf("[%s] is a section of %s", section, f.program), Remedy: f.remedy}
		}
	}
	return nil
}

// foreignKey is the same for a key.
func foreignKey(place Place, name string) error {
	for _, f := range extensions {
		if key := find(f.keys, name); key != "" {
			return &Error{At: place, Cause: fmt.Errorf("%s is a key of %s", key, f.program), Remedy: f.remedy}
		}
	}
	return nil
}
