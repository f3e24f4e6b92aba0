package interop

import (
	"encoding/binary"
	"net/netip"
)

// ipv4Packet is a packet of size bytes whose source and destination are a.
func ipv4Packet(a netip.Addr, size int) []byte {
	b := make([]byte, size)
	b[0] = 0x45
	binary.BigEndian.PutUint16(b[2:], uint16(size))
	copy(b[12:], a.AsSlice())
	copy(b[16:], a.AsSlice())
	return b
}

func ipv6Packet(a netip.Addr, size int) []byte {
	b := make([]byte, size)
	b[0] = 0x60
	binary.BigEndian.PutUint16(b[4:], uint16(size-40))
	copy(b[8:], a.AsSlice())
	copy(b[24:], a.AsSlice())
	return b
}

// udpPacket is a datagram in an IPv4 packet, without a UDP checksum.
func udpPacket(from, to netip.Addr, port uint16, payload []byte) []byte {
	const header = 20 + 8
	b := ipv4Packet(from, header+len(payload))
	copy(b[16:], to.AsSlice())
	b[8], b[9] = 64, 17 // time to live, and UDP
	binary.BigEndian.PutUint16(b[10:], ^checksum(b[:20]))
	binary.BigEndian.PutUint16(b[20:], port)
	binary.BigEndian.PutUint16(b[22:], port)
	binary.BigEndian.PutUint16(b[24:], uint16(8+len(payload)))
	copy(b[header:], payload)
	return b
}

// checksum is RFC 1071's sum.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
