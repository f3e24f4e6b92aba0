package netstack

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
)

// echoHeader is the length of an echo message without its data, in both
// families (RFC 792; RFC 4443, section 4.1).
const echoHeader = header.ICMPv4MinimumSize

// handleEcho takes an ICMP message. It returns true for all, so that the stack
// answers none of them itself.
func (f *flows) handleEcho(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	message := stack.PayloadSince(pkt.TransportHeader())
	defer message.Release()
	request := message.ToSlice()
	if f.echo == nil || !isEchoRequest(pkt, request) {
		return true
	}
	fl, err := f.newFlow("ip", id, pkt)
	if err != nil {
		return true
	}
	if !f.pending.enter(fl.peer) {
		f.excess.Add(1)
		fl.forget()
		return true
	}
	f.echoes.Add(1)
	f.net.tasks.Go(func() {
		defer f.pending.leave(fl.peer)
		defer fl.forget()
		fl.answer(request)
	})
	return true
}

// isEchoRequest reports whether a message is one, and whole. The stack has
// verified the checksum only over IPv6.
func isEchoRequest(pkt *stack.PacketBuffer, message []byte) bool {
	if len(message) < echoHeader || message[1] != 0 {
		return false
	}
	if pkt.NetworkProtocolNumber == header.IPv4ProtocolNumber {
		return message[0] == byte(header.ICMPv4Echo) && checksum.Checksum(message, 0) == 0xffff
	}
	return message[0] == byte(header.ICMPv6EchoRequest)
}

// answer asks what comes of a request, and tells the peer.
func (f *flow) answer(request []byte) {
	err := f.flows.echo(f.flows.ctx, f.source.Addr(), f.destination.Addr(), request[echoHeader:])
	if f.flows.net.enter() != nil {
		return
	}
	defer f.flows.net.leave()
	switch r := refusalOf(err); {
	case err == nil:
		f.flows.sendEcho(f.destination.Addr(), f.source.Addr(), request)
	case r == refused: // an address has no ports that could refuse
		f.flows.reject(f.packet, filtered)
	default:
		f.flows.reject(f.packet, r)
	}
}

// sendEcho sends the reply to a request, which it changes.
func (f *flows) sendEcho(from, to netip.Addr, message []byte) {
	route, err := f.stack.FindRoute(nicID, stackAddr(from), stackAddr(to), protocolOf(to), false)
	if err != nil {
		return
	}
	defer route.Release()
	params := stack.NetworkHeaderParams{Protocol: icmp.ProtocolNumber4, TTL: route.DefaultTTL()}
	if h := header.ICMPv4(message); to.Is4() {
		h.SetType(header.ICMPv4EchoReply)
		h.SetChecksum(0)
		h.SetChecksum(^checksum.Checksum(h, 0))
	} else {
		h := header.ICMPv6(message)
		h.SetType(header.ICMPv6EchoReply)
		h.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{
			Header: h, Src: stackAddr(from), Dst: stackAddr(to),
		}))
		params.Protocol = icmp.ProtocolNumber6
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: int(route.MaxHeaderLength()) + echoHeader,
		Payload:            buffer.MakeWithData(message[echoHeader:]),
	})
	defer pkt.DecRef()
	copy(pkt.TransportHeader().Push(echoHeader), message)
	pkt.TransportProtocolNumber = params.Protocol
	_ = route.WritePacket(params, pkt) // it is lost as any other
}
