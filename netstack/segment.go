package netstack

import (
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// reader reads the bytes of an outgoing packet in order, headers first,
// without copying them together before.
type reader struct {
	view *buffer.View
	rest []byte // of view
}

func newReader(pkt *stack.PacketBuffer) reader {
	views, offset := pkt.AsViewList()
	r := reader{view: views.Front()}
	for r.view != nil && offset >= r.view.Size() {
		offset -= r.view.Size()
		r.view = r.view.Next()
	}
	if r.view != nil {
		r.rest = r.view.AsSlice()[offset:]
	}
	return r
}

// read fills b. The packet has as many bytes left.
func (r *reader) read(b []byte) {
	for len(b) > 0 {
		for len(r.rest) == 0 {
			r.view = r.view.Next()
			r.rest = r.view.AsSlice()
		}
		n := copy(b, r.rest)
		b, r.rest = b[n:], r.rest[n:]
	}
}

// writePacket writes the whole of pkt, which is as long as b.
func writePacket(b []byte, pkt *stack.PacketBuffer) {
	r := newReader(pkt)
	r.read(b)
	if pkt.GSOOptions.Type != stack.GSONone && pkt.GSOOptions.NeedsCsum {
		// The stack has left the sum of the pseudo header in the checksum's
		// place: with it, the sum of the segment is complete.
		tcp := header.TCP(b[len(pkt.NetworkHeader().Slice()):])
		tcp.SetChecksum(^checksum.Checksum(tcp, 0))
	}
}

// maxHeaders is the length of the longest headers of IP and TCP.
const maxHeaders = header.IPv4MaximumHeaderSize + header.TCPHeaderMaximumSize

// segmenter cuts a burst, which is a TCP packet with more data than one
// segment may have, into the packets that the stack would have made one by
// one.
type segmenter struct {
	data reader // what was not written yet
	left int    // of it, in bytes
	mss  int

	headers [maxHeaders]byte // of the burst
	network int              // length of the IP header
	length  int              // of both headers
	offset  uint32           // of the next segment's data
	pseudo  uint16           // sum of the pseudo header without its length
}

// init prepares to cut pkt, which has to stay as it is until the last write.
func (s *segmenter) init(pkt *stack.PacketBuffer) {
	s.data = newReader(pkt)
	s.left = pkt.Data().Size()
	s.mss = int(pkt.GSOOptions.MSS)
	s.network = len(pkt.NetworkHeader().Slice())
	s.length = pkt.HeaderSize()
	s.data.read(s.headers[:s.length])
	var src, dst tcpip.Address // by hand: pkt.Network allocates
	if ip := s.headers[:s.network]; header.IPVersion(ip) == header.IPv6Version {
		src, dst = header.IPv6(ip).SourceAddress(), header.IPv6(ip).DestinationAddress()
	} else {
		src, dst = header.IPv4(ip).SourceAddress(), header.IPv4(ip).DestinationAddress()
	}
	s.pseudo = header.PseudoHeaderChecksum(header.TCPProtocolNumber, src, dst, 0)
}

// next is the length of the next packet, 0 after the last one.
func (s *segmenter) next() int {
	if s.left == 0 {
		return 0
	}
	return s.length + min(s.left, s.mss)
}

// write writes the next packet; p is as long as next said.
func (s *segmenter) write(p []byte) {
	n := len(p) - s.length
	copy(p, s.headers[:s.length])
	s.data.read(p[s.length:])
	s.left -= n

	s.finishIP(p)
	tcp := header.TCP(p[s.network:])
	tcp.SetSequenceNumber(tcp.SequenceNumber() + s.offset)
	if s.left > 0 {
		// Only the last segment ends the burst: a push in each would keep the
		// receiver from merging them.
		tcp.SetFlags(uint8(tcp.Flags() &^ (header.TCPFlagPsh | header.TCPFlagFin)))
	}
	tcp.SetChecksum(0)
	tcp.SetChecksum(^checksum.Checksum(tcp, checksum.Combine(s.pseudo, uint16(len(tcp)))))
	s.offset += uint32(n)
}

// finishIP makes the IP header fit the packet p.
func (s *segmenter) finishIP(p []byte) {
	if header.IPVersion(p) == header.IPv6Version {
		header.IPv6(p).SetPayloadLength(uint16(len(p) - header.IPv6MinimumSize))
		return
	}
	ip := header.IPv4(p)
	ip.SetTotalLength(uint16(len(p)))
	if ip.Flags()&header.IPv4FlagDontFragment == 0 {
		// Packets that may be fragmented must differ in ID (RFC 6864, section
		// 4.3); the stack has drawn one for the burst.
		ip.SetID(ip.ID() + uint16(s.offset/uint32(s.mss)))
	}
	ip.SetChecksum(0)
	ip.SetChecksum(^ip.CalculateChecksum())
}
