package message

import "encoding/binary"

// PutDataHeader writes the header of a data message (whitepaper, section
// 5.4.6) to b, which has room for DataHeaderSize bytes. The sealed packet and
// its tag follow it.
func PutDataHeader(b []byte, receiver uint32, counter uint64) {
	binary.LittleEndian.PutUint32(b[0:4], uint32(TypeData))
	binary.LittleEndian.PutUint32(b[4:8], receiver)
	binary.LittleEndian.PutUint64(b[8:16], counter)
}

// DataReceiver is the index of the session that data message b is for. b is
// data by [Classify].
func DataReceiver(b []byte) uint32 {
	return binary.LittleEndian.Uint32(b[4:8])
}

// DataCounter is the number of data message b in its session, which is also
// its nonce. b is data by [Classify].
func DataCounter(b []byte) uint64 {
	return binary.LittleEndian.Uint64(b[8:16])
}
