package netstack

import (
	"bytes"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// deliver gives the stack what the Device received in one go. The packets are
// the caller's again when it returns.
func (e *endpoint) deliver(packets [][]byte) {
	c, ok := e.coalescers.Get().(*coalescer)
	if !ok {
		c = &coalescer{hand: e.hand, stats: &e.stats}
	}
	size := 0
	for _, p := range packets {
		size += len(p)
		c.in = e.inspect(p)
		switch c.in.verdict {
		case malformed:
			e.stats.deliverMalformed.Add(1)
		case corrupt:
			e.stats.deliverChecksum.Add(1)
		default:
			e.measure(&c.in)
			e.handKept(e.gaps.look(&c.in))
			c.add(&c.in)
		}
	}
	c.flush()
	c.in = inbound{}
	e.coalescers.Put(c)
	e.stats.deliverPackets.Add(uint64(len(packets)))
	e.stats.deliverBytes.Add(uint64(size))
}

// handKept gives the stack acknowledgements that patience has kept.
func (e *endpoint) handKept(packets [][]byte) {
	for _, p := range packets {
		in := e.inspect(p)
		e.hand(&in, in.packetBuffer())
	}
}

// hand gives a packet to the stack that it is for. Its headers are those of
// in, but for the length.
func (e *endpoint) hand(in *inbound, pkt *stack.PacketBuffer) {
	switch {
	case e.flows != nil && e.flows.foreign(destination(in.bytes)):
		e.flows.nic.handle(in, pkt)
	case in.version == header.IPv6Version:
		e.v6.HandlePacket(pkt)
	default:
		e.v4.HandlePacket(pkt)
	}
	pkt.DecRef()
}

// verdict is what deliver found out about a packet's checksums.
type verdict uint8

const (
	// unverified: the stack has to look, now or when it has all fragments.
	unverified verdict = iota
	verified
	malformed
	corrupt
)

// inbound is an incoming packet, looked at.
type inbound struct {
	bytes   []byte // of the packet, by the length in its header
	version int
	// headers is the length of its IP and transport headers if the packet is
	// verified, and network that of the former.
	headers, network int
	verdict          verdict
	// push says that it is a segment of TCP, or several, with the flag.
	push bool
}

// inspect verifies what a sender claims about a packet.
func (e *endpoint) inspect(p []byte) inbound {
	if header.IPVersion(p) == header.IPv6Version {
		return e.inspect6(p)
	}
	return inspect4(p)
}

func inspect4(p []byte) inbound {
	ip := header.IPv4(p)
	if !ip.IsValid(len(p)) {
		return inbound{verdict: malformed}
	}
	in := inbound{bytes: p[:ip.TotalLength()], version: header.IPv4Version}
	if !ip.IsChecksumValid() {
		in.verdict = corrupt
		return in
	}
	if ip.More() || ip.FragmentOffset() != 0 {
		return in
	}
	length := int(ip.HeaderLength())
	payload := in.bytes[length:]
	if ip.TransportProtocol() == header.ICMPv4ProtocolNumber {
		if !icmpv4(payload) {
			in.verdict = malformed
		}
		return in
	}
	in.verify(ip.TransportProtocol(), ip.SourceAddress(), ip.DestinationAddress(), length)
	return in
}

func (e *endpoint) inspect6(p []byte) inbound {
	ip := header.IPv6(p)
	if !ip.IsValid(len(p)) {
		return inbound{verdict: malformed}
	}
	in := inbound{bytes: p[:header.IPv6MinimumSize+int(ip.PayloadLength())], version: header.IPv6Version}
	protocol := tcpip.TransportProtocolNumber(ip.NextHeader()) // or an extension header
	if protocol == header.ICMPv6ProtocolNumber {
		if !e.icmpv6(ip, in.bytes[header.IPv6MinimumSize:]) {
			in.verdict = malformed
		}
		return in
	}
	in.verify(protocol, ip.SourceAddress(), ip.DestinationAddress(), header.IPv6MinimumSize)
	return in
}

// verify checks TCP and UDP behind an IP header of the given length. All else,
// and what comes behind extension headers, is left to the stack.
func (in *inbound) verify(protocol tcpip.TransportProtocolNumber, src, dst tcpip.Address, network int) {
	transport := in.bytes[network:]
	length := 0
	switch protocol {
	case header.TCPProtocolNumber:
		if len(transport) >= header.TCPMinimumSize {
			length = int(header.TCP(transport).DataOffset())
		}
		if length < header.TCPMinimumSize {
			in.verdict = malformed
			return
		}
	case header.UDPProtocolNumber:
		length = header.UDPMinimumSize
		if len(transport) < length || int(header.UDP(transport).Length()) != len(transport) {
			in.verdict = malformed
			return
		}
	default:
		return
	}
	switch {
	case length > len(transport):
		in.verdict = malformed
	case protocol == header.UDPProtocolNumber && in.version == header.IPv4Version && header.UDP(transport).Checksum() == 0:
		in.verdict = verified // there is none (RFC 768)
	case checksum.Checksum(transport, header.PseudoHeaderChecksum(protocol, src, dst, uint16(len(transport)))) != 0xffff:
		in.verdict = corrupt
	default:
		in.verdict = verified
	}
	in.headers, in.network = network+length, network
	in.push = protocol == header.TCPProtocolNumber && header.TCP(transport).Flags()&header.TCPFlagPsh != 0
}

// tcp is the segment in a verified packet of TCP, and else nil.
func (in *inbound) tcp() header.TCP {
	if in.verdict != verified {
		return nil
	}
	protocol := in.bytes[9]
	if in.version == header.IPv6Version {
		protocol = in.bytes[6]
	}
	if protocol != uint8(header.TCPProtocolNumber) {
		return nil
	}
	return header.TCP(in.bytes[in.network:])
}

// tcpOption returns the first option of a kind whole, with its length in the
// second byte, or nil.
func tcpOption(options []byte, kind byte) []byte {
	for len(options) > 0 && options[0] != header.TCPOptionEOL {
		if options[0] == header.TCPOptionNOP {
			options = options[1:]
			continue
		}
		if len(options) < 2 || options[1] < 2 || int(options[1]) > len(options) {
			return nil
		}
		if options[0] == kind {
			return options[:options[1]]
		}
		options = options[options[1]:]
	}
	return nil
}

// sameFlow reports whether two packets of TCP are of one connection and
// direction.
func (in *inbound) sameFlow(other *inbound) bool {
	if in.version != other.version || !bytes.Equal(in.bytes[in.network:in.network+4], other.bytes[other.network:other.network+4]) {
		return false
	}
	if in.version == header.IPv6Version {
		return bytes.Equal(in.bytes[8:40], other.bytes[8:40])
	}
	return bytes.Equal(in.bytes[12:20], other.bytes[12:20])
}

// sameKind reports whether the IP headers of two packets of a flow differ in
// nothing but what differs in all: the length, and the ID, which means nothing
// here. Marks of congestion are part of it, and so are all options.
func (in *inbound) sameKind(other *inbound) bool {
	a, b := in.bytes, other.bytes
	if in.version == header.IPv6Version {
		return bytes.Equal(a[:4], b[:4]) && a[7] == b[7] // traffic class, flow label, hop limit
	}
	return in.network == header.IPv4MinimumSize && other.network == header.IPv4MinimumSize &&
		a[1] == b[1] && a[6] == b[6] && a[8] == b[8] // type of service, may it be fragmented, time to live
}

// finish makes headers of in fit a packet of TCP that is longer, and has a push.
func (in *inbound) finish(headers []byte, length int) {
	if in.version == header.IPv6Version {
		header.IPv6(headers).SetPayloadLength(uint16(length - header.IPv6MinimumSize))
	} else {
		ip := header.IPv4(headers)
		ip.SetTotalLength(uint16(length))
		ip.SetChecksum(0)
		ip.SetChecksum(^ip.CalculateChecksum())
	}
	if in.push {
		tcp := header.TCP(headers[in.network:])
		tcp.SetFlags(uint8(tcp.Flags() | header.TCPFlagPsh))
	}
}

// packetBuffer copies the packet for the stack.
func (in *inbound) packetBuffer() *stack.PacketBuffer {
	return newPacket(buffer.NewViewWithData(in.bytes[:in.headers]), buffer.NewViewWithData(in.bytes[in.headers:]), in.verdict == verified)
}

// newPacket makes a packet of two views, which are its own from now on. The
// headers have one of their own: the stack copies the view that they are in
// for each packet that it queues.
func newPacket(headers, data *buffer.View, validated bool) *stack.PacketBuffer {
	payload, rest := buffer.MakeWithView(headers), buffer.MakeWithView(data)
	payload.Merge(&rest)
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: payload})
	pkt.RXChecksumValidated = validated
	return pkt
}
