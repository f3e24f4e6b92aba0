package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// FuzzParseWireGuard parses any text, in which placeholders become keys. No
// message shows a secret; what is accepted is as [Tunnel] says and comes out
// the same when it is written as a file and read again.
func FuzzParseWireGuard(f *testing.F) {
	files, err := filepath.Glob("testdata/*.conf")
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
	f.Fuzz(func(t *testing.T, template string) {
		text := keys.fill(template)
		tunnel, warnings, err := ParseWireGuard("wg0.conf", []byte(text))
		messages := fmt.Sprint(warnings, err)
		keys.checkSecret(t, messages)
		checkKeyLines(t, text, messages)
		if err != nil {
			return
		}
		checkTunnel(t, &tunnel)

		again, _, err := ParseWireGuard("wg0.conf", []byte(asFile(&tunnel)))
		if err != nil {
			t.Fatalf("what was accepted is refused when printed: %v", err)
		}
		same := cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, key.Public{})
		if diff := cmp.Diff(tunnel, again, same, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("printed and parsed again, -first +second:\n%s", diff)
		}
	})
}

// checkKeyLines fails when eight characters of base64 of a line that holds a
// key, or may, are in a message. Such without a digit are let pass, and those
// that the text has elsewhere: words of messages and of other lines.
func checkKeyLines(t *testing.T, text, messages string) {
	t.Helper()
	var secrets []string
	var rest strings.Builder
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		line, _, _ = strings.Cut(line, "#")
		name, value, found := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		switch {
		case !found && !strings.HasPrefix(name, "["):
			secrets = append(secrets, line)
		case strings.EqualFold(name, keyPrivateKey), strings.EqualFold(name, keyPresharedKey):
			secrets = append(secrets, value)
		default:
			rest.WriteString(line)
		}
	}
	const window = 8
	for _, secret := range secrets {
		for i := 0; i+window <= len(secret); i++ {
			part := secret[i : i+window]
			if isBase64(part) && strings.ContainsAny(part, "0123456789") &&
				strings.Contains(messages, part) && !strings.Contains(rest.String(), part) {
				t.Errorf("%q of a line with a key is in the messages %q", part, messages)
			}
		}
	}
}

func isBase64(s string) bool {
	for i := range len(s) {
		if !isWord(s[i]) && s[i] != '+' && s[i] != '/' {
			return false
		}
	}
	return true
}

// checkTunnel holds an accepted tunnel against the comments of its type.
func checkTunnel(t *testing.T, tunnel *Tunnel) {
	t.Helper()
	own := tunnel.PrivateKey.Public()
	if tunnel.PrivateKey.IsZero() || len(tunnel.Addresses) == 0 {
		t.Error("no private key or no address")
	}
	addresses := make(map[netip.Addr]bool)
	for _, a := range tunnel.Addresses {
		if !a.IsValid() || a.Addr().Is4In6() || addresses[a.Addr()] {
			t.Errorf("address %v", a)
		}
		addresses[a.Addr()] = true
		if a.Addr().Is6() && tunnel.MTU != 0 && tunnel.MTU < 1280 {
			t.Errorf("MTU %d with address %v", tunnel.MTU, a)
		}
	}
	if c := tunnel.CongestionControl; c != "" && c != "cubic" && c != "reno" {
		t.Errorf("congestion control %q", c)
	}
	publics := make(map[key.Public]bool)
	networks := make(map[netip.Prefix]bool)
	for _, p := range tunnel.Peers {
		if _, err := tunnel.PrivateKey.DH(p.PublicKey); err != nil || p.PublicKey == own || publics[p.PublicKey] {
			t.Errorf("public key %v", p.PublicKey)
		}
		publics[p.PublicKey] = true
		if p.PersistentKeepalive < 0 || p.PersistentKeepalive > 65535*time.Second {
			t.Errorf("keepalive %v", p.PersistentKeepalive)
		}
		for _, a := range p.AllowedIPs {
			if !a.IsValid() || a != a.Masked() || a.Addr().Is4In6() || networks[a] {
				t.Errorf("allowed %v", a)
			}
			networks[a] = true
		}
	}
}

// asFile is the wg-quick file of a tunnel, secrets included.
func asFile(t *Tunnel) string {
	var b strings.Builder
	line := func(name string, value any) { fmt.Fprintf(&b, "%s = %v\n", name, value) }
	b.WriteString("[Interface]\n")
	line("PrivateKey", t.PrivateKey.Base64())
	for _, a := range t.Addresses {
		line("Address", a)
	}
	for _, a := range t.DNS {
		line("DNS", a)
	}
	for _, s := range t.Search {
		line("DNS", s)
	}
	if t.MTU != 0 {
		line("MTU", t.MTU)
	}
	line("ListenPort", t.ListenPort)
	for _, p := range t.Peers {
		b.WriteString("[Peer]\n")
		line("PublicKey", p.PublicKey)
		if !p.PresharedKey.IsZero() {
			line("PresharedKey", p.PresharedKey.Base64())
		}
		if p.Endpoint != "" {
			line("Endpoint", p.Endpoint)
		}
		for _, a := range p.AllowedIPs {
			line("AllowedIPs", a)
		}
		line("PersistentKeepalive", int(p.PersistentKeepalive/time.Second))
	}
	return b.String()
}
