package key

import (
	"crypto/subtle"
	"fmt"
	"io"
)

// Preshared is the symmetric key that two peers may add to their handshakes
// (whitepaper, section 5.2). The zero value is none, and on the wire the same
// as an all-zero key. A Preshared is safe for concurrent use, but for Wipe.
type Preshared struct {
	secret func() [Size]byte // Nil for none; see the package's comment.
}

// NewPreshared makes a preshared key of 32 bytes read from rand. It fails only
// when rand does.
func NewPreshared(rand io.Reader) (Preshared, error) {
	b, err := random(rand)
	if err != nil {
		return Preshared{}, err
	}
	return PresharedFrom(b), nil
}

// ParsePreshared reads a preshared key in the base64 of wg(8); all zero is
// none. No error tells any part of s.
func ParsePreshared(s string) (Preshared, error) {
	b, err := parse(s)
	if err != nil {
		return Preshared{}, err
	}
	return PresharedFrom(b), nil
}

// PresharedFrom makes b a preshared key; all zero is none.
func PresharedFrom(b [Size]byte) Preshared {
	if isZero(&b) {
		return Preshared{}
	}
	return Preshared{secret: func() [Size]byte { return b }}
}

// Bytes is the secret; all zero for none.
func (k Preshared) Bytes() [Size]byte {
	if k.secret == nil {
		return [Size]byte{}
	}
	return k.secret()
}

// Base64 is the secret as text, the form that wg(8) reads and writes.
func (k Preshared) Base64() string {
	return encode(k.Bytes())
}

// IsZero reports whether k is none.
func (k Preshared) IsZero() bool {
	return k.secret == nil
}

// Equal reports in constant time whether k and other are the same key.
func (k Preshared) Equal(other Preshared) bool {
	a, b := k.Bytes(), other.Bytes()
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Wipe forgets the key and leaves k the zero value. Copies of k stay as they
// are; the memory is freed with the last of them.
func (k *Preshared) Wipe() {
	k.secret = nil
}

// String is a placeholder, never the secret.
func (k Preshared) String() string {
	return "(preshared key)"
}

// Format prints the placeholder for every verb.
func (k Preshared) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, k.String())
}

// MarshalText gives encoders, and slog through them, the placeholder. It never
// fails.
func (k Preshared) MarshalText() ([]byte, error) {
	return []byte(k.String()), nil
}
