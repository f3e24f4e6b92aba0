package netstack

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// resetTTL is the usual one.
const resetTTL = 64

// reset answers a segment without a connection (RFC 9293, section 3.10.7.1).
// It does so in the place of the stack, which looks at every address that
// there is a flow to before: a flood must not make that the peers' measure. It
// returns false, and leaves the segment to the stack, if that has to look at
// its checksum.
func (f *flows) reset(pkt *stack.PacketBuffer) bool {
	if !pkt.RXChecksumValidated {
		return false
	}
	s := header.TCP(pkt.TransportHeader().Slice())
	flags := s.Flags()
	if flags&header.TCPFlagRst != 0 {
		return true
	}
	fields := header.TCPFields{
		SrcPort: s.DestinationPort(), DstPort: s.SourcePort(),
		DataOffset: header.TCPMinimumSize, Flags: header.TCPFlagRst,
	}
	if flags&header.TCPFlagAck != 0 {
		fields.SeqNum = s.AckNumber()
	} else {
		fields.Flags |= header.TCPFlagAck
		fields.AckNum = s.SequenceNumber() + uint32(pkt.Data().Size())
		for _, counted := range []header.TCPFlags{header.TCPFlagSyn, header.TCPFlagFin} {
			if flags&counted != 0 {
				fields.AckNum++
			}
		}
	}
	f.sendSegment(pkt.Network(), &fields)
	return true
}

// sendSegment sends a segment back to where a packet came from.
func (f *flows) sendSegment(ip header.Network, fields *header.TCPFields) {
	from, to := ip.DestinationAddress(), ip.SourceAddress()
	addr, _ := netip.AddrFromSlice(to.AsSlice())
	route, err := f.nic.route(addr)
	if err != nil {
		return
	}
	network := header.IPv6MinimumSize
	if addr.Is4() {
		network = header.IPv4MinimumSize
	}
	f.nic.queue.add(route, network+header.TCPMinimumSize, func(b []byte) {
		if addr.Is4() {
			h := header.IPv4(b)
			h.Encode(&header.IPv4Fields{
				TotalLength: uint16(len(b)), Flags: header.IPv4FlagDontFragment, TTL: resetTTL,
				Protocol: uint8(header.TCPProtocolNumber), SrcAddr: from, DstAddr: to,
			})
			h.SetChecksum(^h.CalculateChecksum())
		} else {
			header.IPv6(b).Encode(&header.IPv6Fields{
				PayloadLength: header.TCPMinimumSize, TransportProtocol: header.TCPProtocolNumber,
				HopLimit: resetTTL, SrcAddr: from, DstAddr: to,
			})
		}
		segment := header.TCP(b[network:])
		segment.Encode(fields)
		segment.SetChecksum(^checksum.Checksum(segment, header.PseudoHeaderChecksum(
			header.TCPProtocolNumber, from, to, uint16(len(segment)))))
	})
}
