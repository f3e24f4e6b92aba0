package key_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// FuzzParse holds the parsers to one text for each key: what they take is what
// encoding/base64 writes for the bytes that they give.
func FuzzParse(f *testing.F) {
	f.Add(countingText)
	f.Fuzz(func(t *testing.T, s string) {
		public, publicErr := key.ParsePublic(s)
		psk, pskErr := key.ParsePreshared(s)
		private, privateErr := key.ParsePrivate(s)

		if raw, err := base64.StdEncoding.DecodeString(s); err != nil || base64.StdEncoding.EncodeToString(raw) != s || len(raw) != key.Size {
			for kind, err := range parseAll(s) {
				if err == nil {
					t.Fatalf("%s: %q accepted", kind, s)
				}
				if len(s) > 20 && strings.Contains(err.Error(), s) {
					t.Fatalf("%s: error %q repeats its input", kind, err)
				}
			}
			return
		}
		if publicErr != nil || public.String() != s {
			t.Errorf("public: %q became %q, %v", s, public, publicErr)
		}
		if pskErr != nil || psk.Base64() != s {
			t.Errorf("preshared: %q became %q, %v", s, psk.Base64(), pskErr)
		}
		if (privateErr != nil) != public.IsZero() {
			t.Errorf("private: %q: %v, want an error for zeros only", s, privateErr)
		}
		if want := key.PrivateFrom(public.Bytes()); !private.Equal(want) {
			t.Errorf("private: %q became %q, want it clamped", s, private.Base64())
		}
	})
}
