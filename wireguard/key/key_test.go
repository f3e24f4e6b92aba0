package key_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// counting is the key 00 01 02 ... 1f and its text.
var (
	counting     = [key.Size]byte(unhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"))
	countingText = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	zeroText     = strings.Repeat("A", 43) + "="
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func private(s string) key.Private {
	return key.PrivateFrom([key.Size]byte(unhex(s)))
}

func public(s string) key.Public {
	return key.PublicFrom([key.Size]byte(unhex(s)))
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"nothing", "", "44 characters of base64, this has 0"},
		{"no padding", countingText[:43], "this has 43"},
		{"one character too many", countingText + "=", "this has 45"},
		{"space before", " " + countingText, "this has 45"},
		{"space after", countingText + " ", "this has 45"},
		{"newline after", countingText + "\n", "this has 45"},
		{"hex", hex.EncodeToString(counting[:]), "this has 64"},
		{"half a key in hex", hex.EncodeToString(counting[:22]), "this has 33"},
		{"31 bytes", base64.StdEncoding.EncodeToString(counting[:31]), "a key is 32 bytes, this has 31"},
		{"33 bytes", base64.StdEncoding.EncodeToString(append(counting[:], 1)), "a key is 32 bytes, this has 33"},
		{"unused bits", countingText[:42] + "9=", "character 44"},
		{"url-safe minus", "-" + countingText[1:], "character 1"},
		{"url-safe underscore", countingText[:9] + "_" + countingText[10:], "character 10"},
		{"space inside", countingText[:9] + " " + countingText[10:], "character 10"},
		{"newline inside", countingText[:9] + "\n" + countingText[10:], "base64"},
		{"newlines inside", countingText[:9] + "\n\n\n\n" + countingText[13:], "a key is 32 bytes, this has 29"},
		{"padding inside", countingText[:9] + "=" + countingText[10:], "character 10"},
		{"comma for padding", countingText[:43] + ",", "character 44"},
		{"not ASCII", "é" + countingText[2:], "character 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for kind, err := range parseAll(tt.text) {
				if err == nil {
					t.Errorf("%s accepted", kind)
				} else if !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s: error %q does not say %q", kind, err, tt.want)
				}
			}
		})
	}
}

// parseAll gives the error of each type's parser.
func parseAll(s string) map[string]error {
	_, private := key.ParsePrivate(s)
	_, public := key.ParsePublic(s)
	_, preshared := key.ParsePreshared(s)
	return map[string]error{"private": private, "public": public, "preshared": preshared}
}

func TestParseAccepts(t *testing.T) {
	k, err := key.ParsePublic(countingText)
	if err != nil || k.Bytes() != counting || k.String() != countingText {
		t.Errorf("public: %x, %q, %v", k.Bytes(), k, err)
	}
	psk, err := key.ParsePreshared(countingText)
	if err != nil || psk.Bytes() != counting || psk.Base64() != countingText {
		t.Errorf("preshared: %x, %q, %v", psk.Bytes(), psk.Base64(), err)
	}
	clamped := counting
	clamped[31] |= 0x40
	p, err := key.ParsePrivate(countingText)
	if err != nil || p.Bytes() != clamped || p.Base64() != countingText[:41]+"l8=" {
		t.Errorf("private: %x, %q, %v", p.Bytes(), p.Base64(), err)
	}
}

func TestZeroKeys(t *testing.T) {
	if _, err := key.ParsePrivate(zeroText); err == nil || !strings.Contains(err.Error(), "all zero") {
		t.Errorf("private key of zeros in a file: %v, want it refused with the reason", err)
	}
	if k := key.PrivateFrom([key.Size]byte{}); !k.IsZero() || !k.Public().IsZero() || k.Base64() != zeroText {
		t.Error("PrivateFrom zeros is not the zero key")
	}
	if _, err := (key.Private{}).DH(public("09" + strings.Repeat("00", 31))); err == nil || errors.Is(err, key.ErrLowOrder) {
		t.Errorf("DH of no key: %v, want an error of its own", err)
	}
	if k, err := key.ParsePreshared(zeroText); err != nil || !k.IsZero() || k.Bytes() != [key.Size]byte{} {
		t.Errorf("preshared key of zeros: %v, want none, as in wg(8)", err)
	}
	if k, err := key.ParsePublic(zeroText); err != nil || !k.IsZero() || k.String() != zeroText {
		t.Errorf("public key of zeros: %v, want it kept", err)
	}
}

func TestClamp(t *testing.T) {
	ones := [key.Size]byte(bytes.Repeat([]byte{0xff}, key.Size))
	got := key.PrivateFrom(ones).Bytes()
	if got[0] != 0xf8 || got[31] != 0x7f {
		t.Errorf("clamped %x, want f8 first and 7f last", got)
	}
	low := key.PrivateFrom([key.Size]byte{1}).Bytes()
	if low[0] != 0 || low[31] != 0x40 {
		t.Errorf("clamped %x, want 00 first and 40 last", low)
	}
	if k, err := key.NewPrivate(bytes.NewReader(make([]byte, key.Size))); err != nil || k.IsZero() {
		t.Errorf("NewPrivate of zeros: %v, zero %t, want a key: a random one may be any", err, k.IsZero())
	}
}

func TestNew(t *testing.T) {
	k, err := key.NewPrivate(bytes.NewReader(counting[:]))
	if err != nil || !k.Equal(key.PrivateFrom(counting)) {
		t.Errorf("NewPrivate did not use the bytes of its reader: %v", err)
	}
	psk, err := key.NewPreshared(bytes.NewReader(counting[:]))
	if err != nil || psk.Bytes() != counting {
		t.Errorf("NewPreshared did not use the bytes of its reader: %v", err)
	}
	short := bytes.NewReader(counting[:31])
	if k, err := key.NewPrivate(short); !errors.Is(err, io.ErrUnexpectedEOF) || !k.IsZero() {
		t.Errorf("NewPrivate of 31 bytes: %v", err)
	}
	if k, err := key.NewPreshared(short); !errors.Is(err, io.EOF) || !k.IsZero() {
		t.Errorf("NewPreshared of no bytes: %v", err)
	}
}

// TestDH is the example of RFC 7748, section 6.1.
func TestDH(t *testing.T) {
	alice := private("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
	bob := private("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
	if got, want := alice.Public(), public("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"); got != want {
		t.Errorf("first public key %s, want %s", got, want)
	}
	if got, want := bob.Public(), public("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"); got != want {
		t.Errorf("second public key %s, want %s", got, want)
	}
	want := [32]byte(unhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"))
	if got, err := alice.DH(bob.Public()); err != nil || got != want {
		t.Errorf("first to second %x, %v", got, err)
	}
	if got, err := bob.DH(alice.Public()); err != nil || got != want {
		t.Errorf("second to first %x, %v", got, err)
	}
}

// TestLowOrder refuses the points of small order on the curve and its twist,
// also with the highest bit set, which X25519 ignores.
func TestLowOrder(t *testing.T) {
	for _, text := range []string{
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"4Ot6fDtBuK4WVuP68Z/EatoJjeucMrH9hmIFFl9JuAA=",
		"X5yVvKNQjCSx0LFVnIPvWwREXMRYHI6G2CJO3dCfEVc=",
		"7P///////////////////////////////////////38=",
		"7f///////////////////////////////////////38=",
		"7v///////////////////////////////////////38=",
	} {
		p, err := key.ParsePublic(text)
		if err != nil {
			t.Fatal(err)
		}
		high := p.Bytes()
		high[31] |= 0x80
		for _, p := range []key.Public{p, key.PublicFrom(high)} {
			shared, err := key.PrivateFrom(counting).DH(p)
			if !errors.Is(err, key.ErrLowOrder) || shared != [32]byte{} {
				t.Errorf("DH with %s: %v, want ErrLowOrder", p, err)
			}
		}
	}
}

func TestEqual(t *testing.T) {
	other := counting
	other[30] ^= 1

	k := key.PrivateFrom(counting)
	if !k.Equal(key.PrivateFrom(k.Bytes())) || k.Equal(key.PrivateFrom(other)) {
		t.Error("private keys: Equal is wrong")
	}
	if k.Equal(key.Private{}) || (key.Private{}).Equal(k) || !(key.Private{}).Equal(key.Private{}) {
		t.Error("private keys: Equal with no key is wrong")
	}
	psk := key.PresharedFrom(counting)
	if !psk.Equal(key.PresharedFrom(counting)) || psk.Equal(key.PresharedFrom(other)) {
		t.Error("preshared keys: Equal is wrong")
	}
	if psk.Equal(key.Preshared{}) || !(key.Preshared{}).Equal(key.PresharedFrom([key.Size]byte{})) {
		t.Error("preshared keys: Equal with none is wrong")
	}
}

// TestComparable keeps the secret types from == and from being keys of a map,
// both of which the compiler refuses; public keys may be both.
func TestComparable(t *testing.T) {
	if reflect.TypeFor[key.Private]().Comparable() {
		t.Error("Private can be compared with ==")
	}
	if reflect.TypeFor[key.Preshared]().Comparable() {
		t.Error("Preshared can be compared with ==")
	}
	if k := key.PublicFrom(counting); map[key.Public]int{k: 1}[key.PublicFrom(counting)] != 1 {
		t.Error("Public is no key of a map")
	}
}

func TestWipe(t *testing.T) {
	k := key.PrivateFrom(counting)
	kept := k
	k.Wipe()
	if !k.IsZero() || k.Bytes() != [key.Size]byte{} || kept.IsZero() {
		t.Error("private key: Wipe left the key or took the copy's")
	}
	psk := key.PresharedFrom(counting)
	keptPSK := psk
	psk.Wipe()
	if !psk.IsZero() || psk.Bytes() != [key.Size]byte{} || keptPSK.IsZero() {
		t.Error("preshared key: Wipe left the key or took the copy's")
	}
}

func TestShort(t *testing.T) {
	if got := key.PublicFrom(counting).Short(); got != "AAEC…dHh8=" {
		t.Errorf("Short %q, want the four first and the five last characters", got)
	}
}
