package config

import (
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

func TestTunnelNames(t *testing.T) {
	for _, test := range []struct{ name, want string }{
		{"work", ""},
		{"a.B-c_9", ""},
		{strings.Repeat("n", 30), ""},
		{strings.Repeat("n", 31), "is no name"},
		{"", "is no name"},
		{"..", "is no name"},
		{"-f", "is no name"},
		{"a/b", "is no name"},
		{"a b", "is no name"},
		{"a+b", "is no name"},
		{"ä", "is no name"},
	} {
		_, err := parseTunnelName(test.name)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v", test.name, err)
		}
	}
}

// TestFieldsHaveKeys goes through the fields of a [Config], so that none can be
// added without a key. Misspelt and upper-case forms of each key are refused at
// their line, with the right one (C1, C3).
func TestFieldsHaveKeys(t *testing.T) {
	for _, section := range []struct {
		kind, header string
		fields       reflect.Type
	}{
		{"", "", reflect.TypeFor[Config]()},
		{"tunnel", "[[tunnel]]\n", reflect.TypeFor[Tunnel]()},
		{"tunnel.peer", "[[tunnel]]\n[[tunnel.peer]]\n", reflect.TypeFor[Peer]()},
		{"proxy", "[[proxy]]\n", reflect.TypeFor[Proxy]()},
		{"forward", "[[forward]]\n", reflect.TypeFor[Forward]()},
		{"gateway", "[gateway]\n", reflect.TypeFor[Gateway]()},
	} {
		place := fmt.Sprintf("wimble.toml:%d: ", strings.Count(section.header, "\n")+1)
		for field := range section.fields.Fields() {
			name := keyOf(field.Name)
			if !slices.Contains(sections[section.kind], name) {
				t.Errorf("field %s has no key in section %q", field.Name, section.kind)
				continue
			}
			for _, wrong := range []string{name + "x", "x" + name, strings.ToUpper(name), strings.ReplaceAll(name, "_", "-") + "-"} {
				_, _, err := ParseTOML("wimble.toml", []byte(section.header+wrong+" = 1\n"))
				want := fmt.Sprintf("unknown key %q; did you mean %s?", wrong, name)
				if err == nil || !strings.HasPrefix(err.Error(), place) || !strings.HasSuffix(err.Error(), want) {
					t.Errorf("%s: got %v, want %s…%s", wrong, err, place, want)
				}
			}
		}
	}
}

// keyOf is the key of a field: in snake case, as "listen_port" for ListenPort,
// but for some.
func keyOf(field string) string {
	switch field {
	case "DNS", "MTU":
		return strings.ToLower(field)
	case "AllowedIPs":
		return "allowed_ips"
	case "Users":
		return "users_file"
	case "Tunnels", "Peers", "Forwards": // Of each there is a section.
		return strings.ToLower(strings.TrimSuffix(field, "s"))
	case "Proxies":
		return "proxy"
	}
	var b strings.Builder
	for i, r := range field {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// TestKeys: the list for the documentation has every key once, and no section.
func TestKeys(t *testing.T) {
	all := Keys()
	for _, want := range []string{"tunnel.name", "tunnel.peer.allowed_ips", "proxy.users_file", "forward.target", "gateway.allow"} {
		if !slices.Contains(all, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if !slices.IsSorted(all) || len(slices.Compact(slices.Clone(all))) != len(all) || slices.Contains(all, "tunnel.peer") {
		t.Errorf("got %v", all)
	}
}

// TestTwoSpellings is C3: package toml would take the last of them.
func TestTwoSpellings(t *testing.T) {
	refusesTOML(t, withTOML("mtu = 1420\nMTU = 1280", "", ""), `wimble.toml:6: tunnel 1: unknown key "MTU"; did you mean mtu?`)
	refusesTOML(t, withTOML("mtu = 1420\n\"mtu\" = 1280", "", ""), "wimble.toml:6: line 5 gives this key already; keep one of the two")
}

// TestCongestionControl: of all tunnels of a file each has its own, and "auto"
// is what a tunnel has without the key.
func TestCongestionControl(t *testing.T) {
	const second = "[[tunnel]]\nname = 'second'\nprivate_key = '{{private}}'\naddresses = ['10.0.0.3/32']\n"
	for _, test := range []struct{ line, want, words string }{
		{"", "", ""},
		{`congestion_control = "auto"`, "", ""},
		{`congestion_control = "cubic"`, "cubic", "  congestion control: cubic for every TCP connection in the tunnel\n"},
		{`congestion_control = "reno"`, "reno", "  congestion control: reno for every TCP connection in the tunnel\n"},
	} {
		for i, text := range []string{withTOML(test.line, "", second), withTOML("", "", second+test.line)} {
			config, _, err := ParseTOML("wimble.toml", []byte(newKeyring(t).fill(text)))
			if err != nil {
				t.Fatalf("%s: %v", test.line, err)
			}
			if got, other := config.Tunnels[i].CongestionControl, config.Tunnels[1-i].CongestionControl; got != test.want || other != "" {
				t.Errorf("%s of tunnel %d: got %q, and %q for the other one", test.line, i+1, got, other)
			}
			words := Describe(config)
			if !strings.Contains(words, test.words) || test.words == "" && strings.Contains(words, "congestion") {
				t.Errorf("%s: described as\n%s", test.line, words)
			}
		}
	}
}

// TestDurations is C4: package toml would take 25 for nanoseconds.
func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"25": 25 * time.Second, "0": 0, "65535": 65535 * time.Second,
		`"25s"`: 25 * time.Second, `"1m30s"`: 90 * time.Second, `"0"`: 0, `"off"`: 0, `"Off"`: 0,
	} {
		toml := newKeyring(t).fill(withTOML("", "persistent_keepalive = "+text, ""))
		config, _, err := ParseTOML("wimble.toml", []byte(toml))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := config.Tunnels[0].Peers[0].PersistentKeepalive; got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

// TestManyPeers is the first half of C9: a file as large as a big server's.
func TestManyPeers(t *testing.T) {
	const n = 20_000
	keys := newKeyring(t)
	var b strings.Builder
	b.WriteString(keys.fill(withTOML("", "", "")))
	for i := range n {
		fmt.Fprintf(&b, "[[tunnel.peer]]\npublic_key = \"%v\"\nallowed_ips = [\"11.%d.%d.%d/32\"]\n", key.PublicFrom([32]byte{9, byte(i), byte(i >> 8), 1}), i>>16, i>>8&0xff, i&0xff)
	}
	start := time.Now()
	config, _, err := ParseTOML("wimble.toml", []byte(b.String()))
	if err != nil || len(config.Tunnels[0].Peers) != n+1 {
		t.Fatal(err)
	}
	t.Logf("%d peers, %d KiB: %v", n, b.Len()>>10, time.Since(start))
}

// TestDeepKeys is the second half of C9: package toml takes 7.7 s for 20 KB of
// a key, so that it must not see it. What is tested is that it is refused by
// the scanner, which goes no further than it must.
func TestDeepKeys(t *testing.T) {
	deep := strings.TrimSuffix(strings.Repeat("a.", 10_000), ".")
	const want = "wimble.toml:1: this name has more than 8 parts; is it the right file?"
	for _, text := range []string{deep + " = 1", "[" + deep + "]", "[[" + deep + "]]", "x = {" + deep + " = 1}", "x = [{" + deep + " = 1}]"} {
		refusesTOML(t, text, want)
	}
	const tooDeep = "wimble.toml:1: lists or tables lie too deep within each other here; is it the right file?"
	refusesTOML(t, "a = "+strings.Repeat("[", 100_000), tooDeep)
	refusesTOML(t, "a = "+strings.Repeat("{a = ", 100_000), tooDeep)
	const tooMany = "wimble.toml:1: this file has more than 524288 sections, keys and list items; is it the right file?"
	refusesTOML(t, "a = ["+strings.Repeat("1,", maxValues)+"]", tooMany)
}

// TestNoSockets is C10: what checks a configuration can't open a socket, look
// up a name, or run a command.
func TestNoSockets(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no source: %v", err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, source, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range tree.Imports {
			switch spec.Path.Value {
			case `"net"`, `"net/http"`, `"os/exec"`, `"golang.org/x/sys/unix"`:
				t.Errorf("%s imports %s: nothing may run because a configuration is read", file, spec.Path.Value)
			}
		}
	}
}
