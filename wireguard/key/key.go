// Package key holds the three kinds of 32-byte keys that WireGuard knows as
// three types that the compiler keeps apart: [Private], [Public] and
// [Preshared]. It does X25519 and the base64 text of wg(8), and nothing else;
// hashing, ciphers and files belong to its callers.
//
// No verb of fmt, no logger and no encoder prints a secret: Bytes and Base64
// are the only ways to it. It is kept in a function value. Where fmt can call
// no method, as on an unexported field of a printed struct, it follows pointers,
// but it does not look into functions. And functions have no ==, so that the
// compiler refuses comparisons that would take time by content.
//
// The memory of a secret is freed by the garbage collector and not overwritten:
// copies of a key share it, and crypto/ecdh does not let its own be overwritten.
package key

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
)

// Size is the length in bytes of every key.
const Size = 32

// encodedSize is the length of a key in base64: 43 characters and one "=".
const encodedSize = 44

// random reads a key's worth of bytes from source.
func random(source io.Reader) (b [Size]byte, err error) {
	if _, err := io.ReadFull(source, b[:]); err != nil {
		return [Size]byte{}, fmt.Errorf("random bytes for a key: %w", err)
	}
	return b, nil
}

// parse reads the one base64 text that wg(8) writes for a key: standard
// alphabet, padded, unused bits zero. Its errors are worded to follow the name
// of a field, and tell positions and lengths but no part of s, which may be a
// secret.
func parse(s string) (b [Size]byte, err error) {
	if len(s) != encodedSize {
		return b, fmt.Errorf("a key is %d characters of base64, this has %d", encodedSize, len(s))
	}
	text := []byte(s)
	defer clear(text)
	var raw [Size + 1]byte // What 44 characters hold when none is "=".
	defer clear(raw[:])

	n, err := base64.StdEncoding.Strict().Decode(raw[:], text)
	var corrupt base64.CorruptInputError
	switch {
	case errors.As(err, &corrupt):
		return b, fmt.Errorf("a key is base64, which this is not near character %d", int64(corrupt)+1)
	case err != nil:
		return b, errors.New("a key is base64, which this is not")
	case n != Size:
		return b, fmt.Errorf("a key is %d bytes, this has %d", Size, n)
	}
	copy(b[:], raw[:])
	return b, nil
}

// encode is the inverse of parse.
func encode(b [Size]byte) string {
	return base64.StdEncoding.EncodeToString(b[:])
}

// isZero reports in constant time whether b has no bit set.
func isZero(b *[Size]byte) bool {
	return subtle.ConstantTimeCompare(b[:], make([]byte, Size)) == 1
}
