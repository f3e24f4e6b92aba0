package config

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// A keyring holds the keys that tests put into texts in the place of
// {{private}} and the like, so that the tree holds none that works.
type keyring struct {
	private   key.Private
	preshared key.Preshared
	public    key.Public // A peer's.
	public2   key.Public // Another peer's.
}

func newKeyring(t testing.TB) *keyring {
	t.Helper()
	random := rand.NewChaCha8([32]byte{'k', 'e', 'y', 's'})
	private := func() key.Private {
		k, err := key.NewPrivate(random)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	preshared, err := key.NewPreshared(random)
	if err != nil {
		t.Fatal(err)
	}
	return &keyring{private: private(), preshared: preshared, public: private().Public(), public2: private().Public()}
}

// names are pairs of a placeholder and its key.
func (k *keyring) names() []string {
	return []string{
		"{{private}}", k.private.Base64(),
		"{{preshared}}", k.preshared.Base64(),
		"{{own}}", k.private.Public().String(),
		"{{public}}", k.public.String(),
		"{{public2}}", k.public2.String(),
	}
}

// fill puts keys in the place of the placeholders.
func (k *keyring) fill(template string) string {
	return strings.NewReplacer(k.names()...).Replace(template)
}

// hide puts placeholders in the place of the keys.
func (k *keyring) hide(text string) string {
	names := k.names()
	for i := 0; i < len(names); i += 2 {
		names[i], names[i+1] = names[i+1], names[i]
	}
	return strings.NewReplacer(names...).Replace(text)
}

// checkSecret fails when a message shows twelve characters of a secret in a row.
func (k *keyring) checkSecret(t *testing.T, message string) {
	t.Helper()
	for _, secret := range []string{k.private.Base64(), k.preshared.Base64()} {
		if part := shared(secret, message, 12); part != "" {
			t.Errorf("%q of a secret is in the message %q", part, message)
		}
	}
}

// shared is a part of n bytes that s and in have in common, or "".
func shared(s, in string, n int) string {
	for i := 0; i+n <= len(s); i++ {
		if strings.Contains(in, s[i:i+n]) {
			return s[i : i+n]
		}
	}
	return ""
}
