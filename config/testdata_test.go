package config

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what is parsed to testdata/*.want; read the difference before it is committed")

// TestWireGuardFiles parses every testdata/NAME.conf and compares the outcome
// with NAME.want. The files are what providers and tools write, with documentation
// addresses in the place of theirs; those called bad-* must be refused.
func TestWireGuardFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.conf")
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
			wantFile := strings.TrimSuffix(file, ".conf") + ".want"
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

// outcome is what a file gives, as stable text in which keys are placeholders.
func outcome(t *testing.T, keys *keyring, name, text string) string {
	t.Helper()
	tunnel, warnings, err := ParseWireGuard(name, []byte(text))
	var b strings.Builder
	if err != nil {
		fmt.Fprintf(&b, "error: %v\n", err)
	} else {
		describe(&b, &tunnel)
	}
	for _, w := range warnings {
		fmt.Fprintf(&b, "warning: %v\n", w)
	}
	// What people and logs get, before the secrets are looked for by name.
	keys.checkSecret(t, b.String()+fmt.Sprintf("%v %+v %#v", tunnel, tunnel, tunnel))
	if err == nil {
		describeSecrets(&b, &tunnel)
	}
	return keys.hide(b.String())
}

func describe(b *strings.Builder, t *Tunnel) {
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
	for i, p := range t.Peers {
		fmt.Fprintf(b, "peer %d\n  public key %v\n  endpoint %q\n  keepalive %v\n", i+1, p.PublicKey, p.Endpoint, p.PersistentKeepalive)
		for _, a := range p.AllowedIPs {
			fmt.Fprintf(b, "  allowed %v\n", a)
		}
	}
}

func describeSecrets(b *strings.Builder, t *Tunnel) {
	fmt.Fprintf(b, "private key %s\n", t.PrivateKey.Base64())
	for i, p := range t.Peers {
		if !p.PresharedKey.IsZero() {
			fmt.Fprintf(b, "preshared key of peer %d %s\n", i+1, p.PresharedKey.Base64())
		}
	}
}
