package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// FuzzParseTOML parses any text, in which placeholders become keys, beside the
// files of testdata. No message shows a secret; every key is found on its line;
// what is accepted is as [Config] says and comes out the same when it is written
// as a file and read again.
func FuzzParseTOML(f *testing.F) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		template, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(template))
	}
	keys := newKeyring(f)
	name := filepath.Join(filledCopy(f, keys), "wimble.toml")
	f.Fuzz(func(t *testing.T, template string) {
		text := keys.fill(template)
		checkLines(t, text)
		config, warnings, err := ParseTOML(name, []byte(text))
		messages := fmt.Sprint(warnings, err)
		keys.checkSecret(t, messages)
		checkTOMLKeyLines(t, text, messages)
		if err != nil {
			return
		}
		checkConfig(t, &config)
		keys.checkSecret(t, Describe(config)+fmt.Sprintf("%v %+v %#v", config, config, config))

		again, _, err := ParseTOML(name, []byte(asTOML(&config)))
		if err != nil {
			t.Fatalf("what was accepted is refused when printed: %v\n%s", err, keys.hide(asTOML(&config)))
		}
		same := cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{}, key.Public{})
		if diff := cmp.Diff(config, again, same, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("printed and parsed again, -first +second:\n%s", diff)
		}
		if diff := Diff(config, again); !diff.IsZero() {
			t.Errorf("Diff sees one with itself: %v", diff)
		}
	})
}

// checkLines holds the scanner against package toml: of what both take, each key
// stands on the line that the scanner says.
func checkLines(t *testing.T, text string) {
	t.Helper()
	clean, err := cleanText("wimble.toml", []byte(text))
	if err != nil {
		return
	}
	lines, err := scan("wimble.toml", clean)
	if err != nil {
		return
	}
	var values map[string]any
	if _, err := toml.Decode(clean, &values); err != nil {
		return
	}
	checkLinesOf(t, "", values, lines, strings.Split(clean, "\n"))
}

func checkLinesOf(t *testing.T, path string, x any, lines lines, text []string) {
	t.Helper()
	switch x := x.(type) {
	case map[string]any:
		for name, x := range x {
			path := join(path, name)
			if line := lines.of(path); line < 1 || line > len(text) || !strings.Contains(text[line-1], name) {
				t.Errorf("%s is not in line %d", path, line)
			}
			checkLinesOf(t, path, x, lines, text)
		}
	case []map[string]any:
		for i, x := range x {
			checkLinesOf(t, index(path, i), x, lines, text)
		}
	case []any:
		for i, x := range x {
			checkLinesOf(t, index(path, i), x, lines, text)
		}
	default:
		if lines[path] == 0 {
			t.Errorf("%s has no line of its own", path)
		}
	}
}

// checkTOMLKeyLines is checkKeyLines for the values of keys in TOML.
func checkTOMLKeyLines(t *testing.T, text, messages string) {
	t.Helper()
	var asWireGuard strings.Builder
	for line := range strings.Lines(strings.ReplaceAll(text, "#", "")) {
		name, value, _ := strings.Cut(line, "=")
		asWireGuard.WriteString("x = " + name + "\n")
		isKey := strings.Contains(name, "preshared_key") || strings.Contains(name, "private_key")
		if isKey && !strings.Contains(name, "_file") {
			asWireGuard.WriteString(keyPrivateKey + " = " + value + "\n")
		} else {
			asWireGuard.WriteString("x = " + value + "\n")
		}
	}
	checkKeyLines(t, asWireGuard.String(), messages)
}

// checkConfig holds an accepted configuration against the comments of its type.
func checkConfig(t *testing.T, c *Config) {
	t.Helper()
	tunnels := make(map[string]bool)
	ports := make(map[uint16]bool)
	for i := range c.Tunnels {
		tunnel := &c.Tunnels[i]
		checkTunnel(t, tunnel)
		if tunnels[tunnel.Name] || tunnel.Name == "" || tunnel.ListenPort != 0 && ports[tunnel.ListenPort] {
			t.Errorf("tunnel %q, port %d", tunnel.Name, tunnel.ListenPort)
		}
		tunnels[tunnel.Name] = true
		ports[tunnel.ListenPort] = true
	}
	if len(tunnels) == 0 {
		t.Error("no tunnel")
	}
	listeners := make(map[netip.AddrPort]bool)
	checkListener := func(listen netip.AddrPort, tunnel string, clients []netip.Prefix, users int) {
		if !listen.IsValid() || listen.Addr().Is4In6() || listeners[listen] || !tunnels[tunnel] {
			t.Errorf("listener %v of tunnel %q", listen, tunnel)
		}
		listeners[listen] = true
		if !listen.Addr().IsLoopback() && len(clients) == 0 && users == 0 {
			t.Errorf("%v is open", listen)
		}
		for _, network := range clients {
			if network != network.Masked() {
				t.Errorf("clients %v", network)
			}
		}
	}
	for _, p := range c.Proxies {
		checkListener(p.Listen, p.Tunnel, p.AllowClients, len(p.Users))
		if len(p.Protocols) == 0 {
			t.Errorf("proxy %v speaks nothing", p.Listen)
		}
	}
	for _, f := range c.Forwards {
		checkListener(f.Listen, f.Tunnel, f.AllowClients, 0)
		if _, err := parseTarget(f.Target); err != nil {
			t.Errorf("target %q: %v", f.Target, err)
		}
	}
	if c.Gateway != nil && !tunnels[c.Gateway.Tunnel] {
		t.Errorf("gateway of tunnel %q", c.Gateway.Tunnel)
	}
}

// asTOML is the file of a configuration, secrets included, but for users, whom
// only testdata/users.txt has.
func asTOML(c *Config) string {
	var b strings.Builder
	line := func(name string, value any) { fmt.Fprintf(&b, "%s = %v\n", name, value) }
	text := func(name string, value any) { fmt.Fprintf(&b, "%s = '%v'\n", name, value) }
	for i := range c.Tunnels {
		tunnel := &c.Tunnels[i]
		b.WriteString("[[tunnel]]\n")
		text("name", tunnel.Name)
		text("private_key", tunnel.PrivateKey.Base64())
		line("addresses", quoted(tunnel.Addresses))
		line("dns", quoted(tunnel.DNS))
		line("search", quoted(tunnel.Search))
		if tunnel.MTU != 0 {
			line("mtu", tunnel.MTU)
		}
		if tunnel.CongestionControl != "" {
			text("congestion_control", tunnel.CongestionControl)
		}
		line("listen_port", tunnel.ListenPort)
		for _, p := range tunnel.Peers {
			b.WriteString("[[tunnel.peer]]\n")
			text("public_key", p.PublicKey)
			if !p.PresharedKey.IsZero() {
				text("preshared_key", p.PresharedKey.Base64())
			}
			if p.Endpoint != "" {
				text("endpoint", p.Endpoint)
			}
			line("allowed_ips", quoted(p.AllowedIPs))
			line("persistent_keepalive", int(p.PersistentKeepalive/time.Second))
		}
	}
	for _, p := range c.Proxies {
		b.WriteString("[[proxy]]\n")
		text("listen", p.Listen)
		text("tunnel", p.Tunnel)
		line("protocols", quoted(p.Protocols))
		if p.Users != nil {
			text("users_file", "users.txt")
		}
		if p.AllowClients != nil {
			line("allow_clients", quoted(p.AllowClients))
		}
	}
	for _, f := range c.Forwards {
		b.WriteString("[[forward]]\n")
		text("listen", f.Listen)
		text("tunnel", f.Tunnel)
		text("target", f.Target)
		if f.AllowClients != nil {
			line("allow_clients", quoted(f.AllowClients))
		}
	}
	if c.Gateway != nil {
		b.WriteString("[gateway]\n")
		text("tunnel", c.Gateway.Tunnel)
		line("allow", quoted(c.Gateway.Allow))
	}
	return b.String()
}

// quoted is a list of texts in TOML.
func quoted[T any](items []T) string {
	var texts []string
	for _, item := range items {
		texts = append(texts, fmt.Sprintf("'%v'", item))
	}
	return "[" + strings.Join(texts, ", ") + "]"
}
