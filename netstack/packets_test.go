package netstack

import (
	"net/netip"

	"github.com/wimble-proxy/wimble/wireguard"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// The functions here make packets as they come out of a tunnel.

// ipPacket puts an IP header before a payload.
func ipPacket(src, dst netip.Addr, protocol tcpip.TransportProtocolNumber, payload []byte) []byte {
	if src.Is6() {
		p := make([]byte, header.IPv6MinimumSize, header.IPv6MinimumSize+len(payload))
		header.IPv6(p).Encode(&header.IPv6Fields{
			PayloadLength: uint16(len(payload)), TransportProtocol: protocol, HopLimit: 64,
			SrcAddr: stackAddr(src), DstAddr: stackAddr(dst),
		})
		return append(p, payload...)
	}
	p := make([]byte, header.IPv4MinimumSize, header.IPv4MinimumSize+len(payload))
	ip := header.IPv4(p)
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(p) + len(payload)), TTL: 64, Protocol: uint8(protocol),
		SrcAddr: stackAddr(src), DstAddr: stackAddr(dst),
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	return append(p, payload...)
}

// icmpError is an error of dst about a packet that was sent to it. Its type is
// destination unreachable, or too big if there is an mtu.
func icmpError(dst netip.Addr, code byte, mtu uint32, packet []byte) []byte {
	body := append(make([]byte, header.ICMPv4MinimumSize), packet...)
	if dst.Is4() {
		icmp := header.ICMPv4(body)
		icmp.SetType(header.ICMPv4DstUnreachable)
		icmp.SetCode(header.ICMPv4Code(code))
		icmp.SetMTU(uint16(mtu))
		icmp.SetChecksum(^checksum.Checksum(icmp, 0))
		return ipPacket(dst, left4, header.ICMPv4ProtocolNumber, body)
	}
	icmp := header.ICMPv6(body)
	icmp.SetType(header.ICMPv6DstUnreachable)
	icmp.SetCode(header.ICMPv6Code(code))
	if mtu > 0 {
		icmp.SetType(header.ICMPv6PacketTooBig)
		icmp.SetMTU(mtu)
	}
	icmp.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{
		Header: icmp, Src: stackAddr(dst), Dst: stackAddr(left6),
	}))
	return ipPacket(dst, left6, header.ICMPv6ProtocolNumber, body)
}

// batchOf is a batch of one packet for w.
func batchOf(w *wire, packet []byte) *wireguard.Batch {
	b := w.NewBatch(wireguard.Route{}, len(packet))
	copy(b.Add(len(packet)), packet)
	return b
}
