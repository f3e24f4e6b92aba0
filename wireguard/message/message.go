// Package message is the wire format of WireGuard's four messages, byte by
// byte (whitepaper, section 5.4): what each field is and where it stands. It
// knows nothing of keys, sessions or peers.
//
// Start with [Classify], which says what a datagram is. Then the three
// messages of the handshake are parsed to structs and put from them; a data
// message is read and written in place, since only its header is not sealed.
//
// All functions are free of allocations and keep no reference to the bytes
// that they are given.
package message

import "encoding/binary"

// Type is the kind of a message: its first four bytes, as one little-endian
// number.
type Type uint8

// The four messages (whitepaper, sections 5.4.2, 5.4.3, 5.4.7 and 5.4.6).
const (
	TypeInitiation  Type = 1
	TypeResponse    Type = 2
	TypeCookieReply Type = 3
	TypeData        Type = 4
)

// Lengths in bytes of whole messages and of parts of them. A data message has
// no fixed length, but at least that of its header and its tag.
const (
	InitiationSize  = 148
	ResponseSize    = 92
	CookieReplySize = 64

	DataHeaderSize = 16
	TagSize        = 16
	DataMinSize    = DataHeaderSize + TagSize

	// MACSize is the length of each of the two MACs that end an initiation
	// and a response.
	MACSize = 16
)

// Classify says what datagram b is, by its first word and its length. It is
// false for everything that is to be dropped without a look inside: unknown
// types, reserved bytes that are not zero, and lengths that don't fit the type
// exactly or, for data, are too short.
func Classify(b []byte) (Type, bool) {
	if len(b) < 4 {
		return 0, false
	}
	// The type byte and the three reserved bytes are one number, so that a
	// set reserved byte is an unknown type.
	switch word := binary.LittleEndian.Uint32(b); word {
	case uint32(TypeInitiation):
		return TypeInitiation, len(b) == InitiationSize
	case uint32(TypeResponse):
		return TypeResponse, len(b) == ResponseSize
	case uint32(TypeCookieReply):
		return TypeCookieReply, len(b) == CookieReplySize
	case uint32(TypeData):
		return TypeData, len(b) >= DataMinSize
	default:
		return 0, false
	}
}

// is reports whether b is a whole message of type t.
func is(b []byte, t Type) bool {
	got, ok := Classify(b)
	return ok && got == t
}
