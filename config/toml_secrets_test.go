package config

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
)

// TestWrongKeys is C2: what is nearly a key is refused in its place, and no
// part of it is shown.
func TestWrongKeys(t *testing.T) {
	keys := newKeyring(t)
	secret := keys.private.Base64()
	raw := keys.private.Bytes()
	for _, wrong := range []string{
		"",
		secret[:43],
		secret + "=",
		" " + secret,
		secret + `\n`,
		secret[:20] + " " + secret[20:],
		secret[:42] + "B=",
		strings.NewReplacer("+", "-", "/", "_").Replace("/+" + secret[2:]),
		hex.EncodeToString(raw[:]),
		base64.StdEncoding.EncodeToString(raw[:31]),
		base64.StdEncoding.EncodeToString(append(raw[:], 1)),
		strings.Repeat("A", 43) + "=",
	} {
		for _, text := range []string{
			"[[tunnel]]\nprivate_key = \"" + wrong + "\"",
			withTOML("", "", "[[tunnel.peer]]\npublic_key = \""+wrong+"\""),
			withTOML("", "preshared_key = \""+wrong+"\"", ""),
		} {
			_, _, err := ParseTOML("wimble.toml", []byte(keys.fill(text)))
			if err == nil || !strings.Contains(err.Error(), "_key: ") {
				t.Errorf("%s: got %v", keys.hide(text), err)
				continue
			}
			if part := shared(secret, err.Error(), 6); part != "" {
				t.Errorf("%q is in %q", part, err)
			}
		}
	}
}

// TestSecretsStayHiddenInTOML damages lines with keys in the ways that people
// do, and looks for what is left of the key in the message.
func TestSecretsStayHiddenInTOML(t *testing.T) {
	keys := newKeyring(t)
	secret := keys.private.Base64()
	plain := strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(secret)
	digits := strings.Repeat("7", 7) + strings.Repeat("1234567890", 4)
	for _, line := range []string{
		secret,
		"preshared_key = " + secret,
		"preshared_key = 8" + secret,
		"preshared_key = '" + secret,
		"preshared_key = \"" + secret,
		"preshared_key = \"" + secret + "'",
		"preshared_key = '''\n" + secret,
		"preshared_key = \"" + secret[:20] + `\` + secret[20:] + "\"",
		"preshared_key = \"" + secret[:20] + `\u12` + secret[20:] + "\"",
		"preshared_key = '" + secret + "' '" + secret + "'",
		"preshared_key = ['" + secret + "']",
		"preshared_key = {" + plain + " = 1}",
		"preshared_key.'" + secret + "' = 1",
		"preshared_key = " + digits,
		"preshared_key = 0" + digits,
		"preshared_key = 1" + digits + "e5",
		"preshared_key = '" + secret + "'\npreshared_key = '" + secret + "'",
		"preshared_key = '" + secret + "'\n[tunnel.peer]",
		"preshared_keys = '" + secret + "'",
		"preshared_key: '" + secret + "'",
		"preshared_key '" + secret + "'",
		"preshared_key_file = '" + secret + "'",
		"preshared_key_file = '/" + secret + "'",
		plain + " = 1",
		plain + " = '" + plain + "'",
		plain + ".a = 1",
		"'" + secret + "' = 1",
		"\"" + secret[:30] + `\u0041` + secret[30:] + "\" = 1",
		"[" + plain + "]",
		"[[tunnel." + plain + "]]",
		"[['" + secret + "']]",
		plain + " = 1\n" + plain + " = 2",
		"[" + plain + "]\n[" + plain + "]",
		plain + " = 1\n[" + plain + "]",
		"endpoint = '" + secret + "'",
		"endpoint = '" + secret + ":51820'",
		"allowed_ips = ['" + secret + "']",
		"persistent_keepalive = '" + secret + "'",
		"[[tunnel]]\nname = '" + secret + "'",
		"[[tunnel]]\nimport = '" + secret + "'",
		"[[tunnel]]\naddresses = ['" + secret + "']",
		"[[tunnel]]\ndns = ['" + plain + "', '" + secret + "']",
		"[[tunnel]]\nsearch = ['" + secret + "']",
		"[[proxy]]\nlisten = '" + secret + "'",
		"[[proxy]]\nlisten = '127.0.0.1:1'\ntunnel = '" + secret + "'",
		"[[proxy]]\nlisten = '127.0.0.1:1'\nusers_file = '" + secret + "'",
		"[[proxy]]\nlisten = '127.0.0.1:1'\nprotocols = ['" + secret + "']",
		"[[proxy]]\nlisten = '127.0.0.1:1'\nallow_clients = ['" + secret + "']",
		"[[forward]]\nlisten = '127.0.0.1:1'\ntarget = '" + secret + "'",
		"[[forward]]\nlisten = '127.0.0.1:1'\nprotocol = '" + secret + "'",
		"[gateway]\nallow = ['" + secret + ":*']",
		"[gateway]\nallow = ['10.0.0.0/8:" + secret + "']",
	} {
		text := keys.fill(withTOML("", "", line))
		_, _, err := ParseTOML("wimble.toml", []byte(text))
		if err == nil {
			t.Errorf("accepted:\n%s", keys.hide(line))
			continue
		}
		for _, hidden := range []string{secret, plain, digits} {
			if part := shared(hidden, err.Error(), 6); part != "" {
				t.Errorf("%q is in %q", part, err)
			}
		}
	}
}
