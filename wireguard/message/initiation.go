package message

import "encoding/binary"

// Initiation is the first message of a handshake (whitepaper, section 5.4.2).
type Initiation struct {
	Sender    uint32 // The index by which the responder shall answer.
	Ephemeral [32]byte
	Static    [32 + TagSize]byte // Sealed.
	Timestamp [12 + TagSize]byte // Sealed.
	MAC1      [MACSize]byte      // Over all that stands before it.
	MAC2      [MACSize]byte      // Over all that stands before it, or zero.
}

// Put writes m to b, which has room for InitiationSize bytes.
func (m *Initiation) Put(b []byte) {
	binary.LittleEndian.PutUint32(b[0:4], uint32(TypeInitiation))
	binary.LittleEndian.PutUint32(b[4:8], m.Sender)
	copy(b[8:40], m.Ephemeral[:])
	copy(b[40:88], m.Static[:])
	copy(b[88:116], m.Timestamp[:])
	copy(b[116:132], m.MAC1[:])
	copy(b[132:148], m.MAC2[:])
}

// ParseInitiation reads b, and is false when b is not an initiation by
// [Classify].
func ParseInitiation(b []byte) (Initiation, bool) {
	if !is(b, TypeInitiation) {
		return Initiation{}, false
	}
	return Initiation{
		Sender:    binary.LittleEndian.Uint32(b[4:8]),
		Ephemeral: [32]byte(b[8:40]),
		Static:    [32 + TagSize]byte(b[40:88]),
		Timestamp: [12 + TagSize]byte(b[88:116]),
		MAC1:      [MACSize]byte(b[116:132]),
		MAC2:      [MACSize]byte(b[132:148]),
	}, true
}
