package key

import (
	"crypto/ecdh"
	"errors"
	"fmt"
	"io"
)

var (
	// ErrLowOrder is the failure of [Private.DH] with a public key of low
	// order, whose result is all zero whatever the private key is.
	ErrLowOrder = errors.New("public key has low order")

	errNoPrivate = errors.New("no private key")
)

// Private is a private key, static or ephemeral. The zero value is no key.
// A Private is safe for concurrent use, but for Wipe.
type Private struct {
	pair func() *ecdh.PrivateKey // Nil for no key; see the package's comment.
}

// NewPrivate makes a private key of 32 bytes read from rand. It fails only
// when rand does.
func NewPrivate(rand io.Reader) (Private, error) {
	b, err := random(rand)
	if err != nil {
		return Private{}, err
	}
	defer clear(b[:])
	return clamped(b), nil
}

// ParsePrivate reads a private key in the base64 of wg(8) and clamps it. An
// all-zero key is refused: it stands for no key. No error tells any part of s.
func ParsePrivate(s string) (Private, error) {
	b, err := parse(s)
	if err != nil {
		return Private{}, err
	}
	defer clear(b[:])
	if isZero(&b) {
		return Private{}, errors.New("this private key is all zero")
	}
	return clamped(b), nil
}

// PrivateFrom clamps b and makes it a private key; all zero gives the zero
// value, which is no key.
func PrivateFrom(b [Size]byte) Private {
	if isZero(&b) {
		return Private{}
	}
	return clamped(b)
}

// clamped is the private key of b with the fixed bits of RFC 7748, section 5.
// X25519 would set them for itself; doing it here makes Bytes and Base64 show
// the key as the kernel shows it.
func clamped(b [Size]byte) Private {
	b[0] &= 0b1111_1000
	b[31] = b[31]&0b0111_1111 | 0b0100_0000
	pair, err := ecdh.X25519().NewPrivateKey(b[:])
	if err != nil {
		// Only GODEBUG=fips140=only leads here, a mode without WireGuard.
		panic("key: no X25519 in this process: " + err.Error())
	}
	clear(b[:])
	return Private{pair: func() *ecdh.PrivateKey { return pair }}
}

// Public is the public key of k; the zero key's is zero.
func (k Private) Public() Public {
	if k.pair == nil {
		return Public{}
	}
	return Public{b: [Size]byte(k.pair().PublicKey().Bytes())}
}

// DH is X25519 of k and p (whitepaper, section 5.4). It fails with
// [ErrLowOrder] when the result is all zero, and when k is no key.
func (k Private) DH(p Public) (shared [Size]byte, err error) {
	if k.pair == nil {
		return shared, errNoPrivate
	}
	remote, err := ecdh.X25519().NewPublicKey(p.b[:])
	if err != nil {
		return shared, err
	}
	secret, err := k.pair().ECDH(remote)
	if err != nil {
		return shared, ErrLowOrder
	}
	copy(shared[:], secret)
	clear(secret)
	return shared, nil
}

// Bytes is the secret, clamped; all zero for no key.
func (k Private) Bytes() (b [Size]byte) {
	if k.pair == nil {
		return b
	}
	secret := k.pair().Bytes()
	copy(b[:], secret)
	clear(secret)
	return b
}

// Base64 is the secret as text, the form that wg(8) reads and writes.
func (k Private) Base64() string {
	return encode(k.Bytes())
}

// IsZero reports whether k is no key.
func (k Private) IsZero() bool {
	return k.pair == nil
}

// Equal reports in constant time whether k and other are the same key.
func (k Private) Equal(other Private) bool {
	if k.pair == nil || other.pair == nil {
		return k.IsZero() && other.IsZero()
	}
	return k.pair().Equal(other.pair())
}

// Wipe forgets the key and leaves k the zero value. Copies of k stay as they
// are; the memory is freed with the last of them.
func (k *Private) Wipe() {
	k.pair = nil
}

// String is a placeholder, never the secret.
func (k Private) String() string {
	return "(private key)"
}

// Format prints the placeholder for every verb.
func (k Private) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, k.String())
}

// MarshalText gives encoders, and slog through them, the placeholder. It never
// fails.
func (k Private) MarshalText() ([]byte, error) {
	return []byte(k.String()), nil
}
