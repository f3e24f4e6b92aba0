package key

// Public is a public key, static or ephemeral: any 32 bytes, also such as
// [Private.DH] refuses. It can be compared with == and be the key of a map.
// The zero value is none.
type Public struct {
	b [Size]byte
}

// ParsePublic reads a public key in the base64 of wg(8).
func ParsePublic(s string) (Public, error) {
	b, err := parse(s)
	return Public{b: b}, err
}

// PublicFrom makes b a public key.
func PublicFrom(b [Size]byte) Public {
	return Public{b: b}
}

// Bytes is the key as it travels.
func (k Public) Bytes() [Size]byte {
	return k.b
}

// IsZero reports whether k is none.
func (k Public) IsZero() bool {
	return k == Public{}
}

// String is the key in base64, the form that wg(8) reads and writes.
func (k Public) String() string {
	return encode(k.b)
}

// Short is the key abbreviated for people, as in "3ipW…AUNA=".
func (k Public) Short() string {
	s := k.String()
	return s[:4] + "…" + s[len(s)-5:]
}

// MarshalText is String for encoders. It never fails.
func (k Public) MarshalText() ([]byte, error) {
	return []byte(k.String()), nil
}
