package netstack

import (
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// deliver gives the stack what the Device received in one go. The packets are
// the caller's again when it returns.
func (e *endpoint) deliver(packets [][]byte) {
	e.stats.deliverPackets.Add(uint64(len(packets)))
	for _, p := range packets {
		e.stats.deliverBytes.Add(uint64(len(p)))
		in := e.inspect(p)
		switch in.verdict {
		case malformed:
			e.stats.deliverMalformed.Add(1)
			continue
		case corrupt:
			e.stats.deliverChecksum.Add(1)
			continue
		}
		pkt := in.packetBuffer()
		switch {
		case e.flows != nil && e.flows.foreign(destination(in.bytes)):
			e.flows.nic.handle(&in, pkt)
		case in.version == header.IPv6Version:
			e.v6.HandlePacket(pkt)
		default:
			e.v4.HandlePacket(pkt)
		}
		pkt.DecRef()
	}
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
	// verified.
	headers int
	verdict verdict
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
	in.headers = network + length
}

// packetBuffer copies the packet for the stack. The headers get a view of
// their own: the stack copies the view that they are in for each packet that
// it queues.
func (in *inbound) packetBuffer() *stack.PacketBuffer {
	payload := buffer.MakeWithData(in.bytes[:in.headers])
	rest := buffer.MakeWithData(in.bytes[in.headers:])
	payload.Merge(&rest)
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: payload})
	pkt.RXChecksumValidated = in.verdict == verified
	return pkt
}
