package message

import "encoding/binary"

// CookieReply is a busy responder's answer to an initiation or a response:
// what to put in mac2 next time (whitepaper, section 5.4.7).
type CookieReply struct {
	Receiver uint32 // The Sender of the message that it answers.
	Nonce    [24]byte
	Cookie   [16 + TagSize]byte // Sealed.
}

// Put writes m to b, which has room for CookieReplySize bytes.
func (m *CookieReply) Put(b []byte) {
	binary.LittleEndian.PutUint32(b[0:4], uint32(TypeCookieReply))
	binary.LittleEndian.PutUint32(b[4:8], m.Receiver)
	copy(b[8:32], m.Nonce[:])
	copy(b[32:64], m.Cookie[:])
}

// ParseCookieReply reads b, and is false when b is not a cookie reply by
// [Classify].
func ParseCookieReply(b []byte) (CookieReply, bool) {
	if !is(b, TypeCookieReply) {
		return CookieReply{}, false
	}
	return CookieReply{
		Receiver: binary.LittleEndian.Uint32(b[4:8]),
		Nonce:    [24]byte(b[8:32]),
		Cookie:   [16 + TagSize]byte(b[32:64]),
	}, true
}
