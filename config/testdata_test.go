package config

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what is parsed to testdata/*.want; read the difference before it is committed")

// TestWireGuardFiles parses every testdata/NAME.conf and compares the outcome
// with NAME.want. The files are what providers and tools write, with documentation
// addresses in the place of theirs; those called bad-* must be refused.
func TestWireGuardFiles(t *testing.T) {
	testFiles(t, "*.conf", outcome)
}

// TestTOMLFiles does the same with testdata/NAME.toml, in a copy of the folder
// that has keys for placeholders, as they name each other and files of keys.
func TestTOMLFiles(t *testing.T) {
	dir := filledCopy(t, newKeyring(t))
	testFiles(t, "*.toml", func(t *testing.T, keys *keyring, name, text string) string {
		got := outcomeTOML(t, keys, filepath.Join(dir, name), text)
		return strings.ReplaceAll(got, dir+string(filepath.Separator), "")
	})
}

// testFiles holds the outcome of the files of a pattern against those wanted,
// also with the line ends and the mark of a Windows editor.
func testFiles(t *testing.T, pattern string, outcome func(t *testing.T, keys *keyring, name, text string) string) {
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	keys := newKeyring(t)
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			template, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			wantFile := strings.TrimSuffix(file, filepath.Ext(file)) + ".want"
			text := keys.fill(string(template))
			got := outcome(t, keys, name, text)
			if *update {
				if err := os.WriteFile(wantFile, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(wantFile)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if refused := strings.HasPrefix(got, "error: "); refused != strings.HasPrefix(name, "bad-") {
				t.Errorf("refused: %v", refused)
			}
			windows := "\ufeff" + strings.ReplaceAll(text, "\n", "\r\n")
			if diff := cmp.Diff(string(want), outcome(t, keys, name, windows)); diff != "" {
				t.Errorf("as a Windows editor saves it, -want +got:\n%s", diff)
			}
		})
	}
}

// filledCopy is a folder with the files of testdata, with keys in the place of
// placeholders, that nobody else can use.
func filledCopy(t testing.TB, keys *keyring) string {
	t.Helper()
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		template, err := os.ReadFile(filepath.Join("testdata", entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, entry.Name()), keys.fill(string(template)), 0o600)
	}
	return dir
}

// outcome is what a wg-quick file gives, as stable text in which keys are
// placeholders.
func outcome(t *testing.T, keys *keyring, name, text string) string {
	t.Helper()
	tunnel, warnings, err := ParseWireGuard(name, []byte(text))
	var b strings.Builder
	if err != nil {
		fmt.Fprintf(&b, "error: %v\n", err)
	} else {
		dump(&b, &tunnel)
	}
	for _, w := range warnings {
		fmt.Fprintf(&b, "warning: %v\n", w)
	}
	// What people and logs get, before the secrets are looked for by name.
	keys.checkSecret(t, b.String()+fmt.Sprintf("%v %+v %#v", tunnel, tunnel, tunnel))
	if err == nil {
		dumpSecrets(&b, &tunnel)
	}
	return keys.hide(b.String())
}

// outcomeTOML is what a TOML file gives, as outcome says it of a tunnel, and
// how it is described.
func outcomeTOML(t *testing.T, keys *keyring, name, text string) string {
	t.Helper()
	config, warnings, err := Parse(name, []byte(text))
	var b strings.Builder
	if err != nil {
		fmt.Fprintf(&b, "error: %v\n", err)
	}
	for i := range config.Tunnels {
		dump(&b, &config.Tunnels[i])
	}
	dumpListeners(&b, &config)
	for _, w := range warnings {
		fmt.Fprintf(&b, "warning: %v\n", w)
	}
	if err == nil {
		fmt.Fprintf(&b, "in words:\n%s", Describe(config))
	}
	keys.checkSecret(t, b.String()+fmt.Sprintf("%v %+v %#v", config, config, config))
	for i := range config.Tunnels {
		dumpSecrets(&b, &config.Tunnels[i])
	}
	return keys.hide(b.String())
}

func dump(b *strings.Builder, t *Tunnel) {
	fmt.Fprintf(b, "tunnel %s\n", t.Name)
	for _, a := range t.Addresses {
		fmt.Fprintf(b, "  address %v\n", a)
	}
	for _, a := range t.DNS {
		fmt.Fprintf(b, "  dns %v\n", a)
	}
	for _, s := range t.Search {
		fmt.Fprintf(b, "  search %s\n", s)
	}
	fmt.Fprintf(b, "  mtu %d\n  listen port %d\n", t.MTU, t.ListenPort)
	if t.CongestionControl != "" {
		fmt.Fprintf(b, "  congestion control %s\n", t.CongestionControl)
	}
	for i, p := range t.Peers {
		fmt.Fprintf(b, "peer %d\n  public key %v\n  endpoint %q\n  keepalive %v\n", i+1, p.PublicKey, p.Endpoint, p.PersistentKeepalive)
		for _, a := range p.AllowedIPs {
			fmt.Fprintf(b, "  allowed %v\n", a)
		}
	}
}

func dumpListeners(b *strings.Builder, c *Config) {
	for _, p := range c.Proxies {
		fmt.Fprintf(b, "proxy on %v\n  tunnel %s\n  protocols %v\n", p.Listen, p.Tunnel, p.Protocols)
		for _, name := range slices.Sorted(maps.Keys(p.Users)) {
			fmt.Fprintf(b, "  user %s\n", name)
		}
		fmt.Fprintf(b, "  clients %v\n", p.AllowClients)
	}
	for _, f := range c.Forwards {
		fmt.Fprintf(b, "forward on %v\n  tunnel %s\n  target %q\n  clients %v\n", f.Listen, f.Tunnel, f.Target, f.AllowClients)
	}
	if g := c.Gateway; g != nil {
		fmt.Fprintf(b, "gateway\n  tunnel %s\n  allow %v\n", g.Tunnel, g.Allow)
	}
}

func dumpSecrets(b *strings.Builder, t *Tunnel) {
	fmt.Fprintf(b, "private key %s\n", t.PrivateKey.Base64())
	for i, p := range t.Peers {
		if !p.PresharedKey.IsZero() {
			fmt.Fprintf(b, "preshared key of peer %d %s\n", i+1, p.PresharedKey.Base64())
		}
	}
}
