package message

import "encoding/binary"

// Response is the second message of a handshake (whitepaper, section 5.4.3).
type Response struct {
	Sender    uint32 // The index by which the initiator shall send data.
	Receiver  uint32 // The initiation's Sender.
	Ephemeral [32]byte
	Empty     [TagSize]byte // Nothing, sealed.
	MAC1      [MACSize]byte // Over all that stands before it.
	MAC2      [MACSize]byte // Over all that stands before it, or zero.
}

// Put writes m to b, which has room for ResponseSize bytes.
func (m *Response) Put(b []byte) {
	binary.LittleEndian.PutUint32(b[0:4], uint32(TypeResponse))
	binary.LittleEndian.PutUint32(b[4:8], m.Sender)
	binary.LittleEndian.PutUint32(b[8:12], m.Receiver)
	copy(b[12:44], m.Ephemeral[:])
	copy(b[44:60], m.Empty[:])
	copy(b[60:76], m.MAC1[:])
	copy(b[76:92], m.MAC2[:])
}

// ParseResponse reads b, and is false when b is not a response by [Classify].
func ParseResponse(b []byte) (Response, bool) {
	if !is(b, TypeResponse) {
		return Response{}, false
	}
	return Response{
		Sender:    binary.LittleEndian.Uint32(b[4:8]),
		Receiver:  binary.LittleEndian.Uint32(b[8:12]),
		Ephemeral: [32]byte(b[12:44]),
		Empty:     [TagSize]byte(b[44:60]),
		MAC1:      [MACSize]byte(b[60:76]),
		MAC2:      [MACSize]byte(b[76:92]),
	}, true
}
