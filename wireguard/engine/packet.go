package engine

import (
	"encoding/binary"
	"net/netip"

	"github.com/wimble-proxy/wimble/wireguard/message"
)

const (
	ipv4HeaderSize = 20
	ipv6HeaderSize = 40
)

// trim cuts the padding off a plaintext by the length that its IP header
// states, and returns the packet and its source. It reports false for what is
// not a whole IP packet. Lengths are ints: a 16-bit sum would wrap.
func trim(plain []byte) (packet []byte, source netip.Addr, ok bool) {
	if len(plain) < ipv4HeaderSize {
		return nil, netip.Addr{}, false
	}
	switch plain[0] >> 4 {
	case 4:
		n := int(binary.BigEndian.Uint16(plain[2:]))
		if n < ipv4HeaderSize || n > len(plain) {
			return nil, netip.Addr{}, false
		}
		return plain[:n], netip.AddrFrom4([4]byte(plain[12:16])), true
	case 6:
		if len(plain) < ipv6HeaderSize {
			return nil, netip.Addr{}, false
		}
		n := ipv6HeaderSize + int(binary.BigEndian.Uint16(plain[4:]))
		if n > len(plain) {
			return nil, netip.Addr{}, false
		}
		return plain[:n], netip.AddrFrom16([16]byte(plain[8:24])), true
	}
	return nil, netip.Addr{}, false
}

// Police lets a committed plaintext through: it must be a whole IP packet,
// which is returned without its padding, and its source must belong, by the
// longest prefix of all peers, to the very peer that sent it (Whitepaper, 2).
// What it refuses it counts and returns as nil; like the kernel it counts the
// bytes of the peer only for what it lets through. It takes no lock.
func (e *Engine) Police(from *Peer, plain []byte) []byte {
	packet, source, ok := trim(plain)
	if !ok {
		e.Drop(DropMalformed)
		return nil
	}
	if owner, _ := e.routes.Load().Lookup(source); owner != from {
		e.Drop(DropPolice)
		return nil
	}
	from.received.Add(uint64(message.DataMinSize + len(plain)))
	return packet
}
