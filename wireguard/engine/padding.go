package engine

import "github.com/wimble-proxy/wimble/wireguard/message"

const paddingMultiple = 16

// padded is the length of a packet of n bytes with its padding: a multiple of
// 16, but never beyond the MTU, so that padding alone does not make a datagram
// that the path can't carry (Whitepaper, 5.4.6). A packet longer than the MTU
// is treated as the kernel treats it: its last MTU-sized part is padded. A
// keepalive, n = 0, is not padded. An mtu of 0 means none.
func padded(n, mtu int) int {
	last := n
	if mtu > 0 && n > mtu {
		last = n % mtu
	}
	up := (last + paddingMultiple - 1) &^ (paddingMultiple - 1)
	if mtu > 0 {
		up = min(up, mtu)
	}
	return n - last + up
}

// SealedSize is the length of the data message that carries a packet of n
// bytes in a tunnel of the given MTU: header, packet, padding, tag.
func SealedSize(n, mtu int) int {
	return message.DataHeaderSize + padded(n, mtu) + message.TagSize
}
