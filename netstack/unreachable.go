package netstack

import (
	"errors"
	"net/netip"

	"github.com/wimble-proxy/wimble/wireguard"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// maxFailures is how many connections can wait to be told that they have no
// route; one that does not fit is told with its next packet.
const maxFailures = 64

// quoted is what an ICMP error has to quote of a TCP segment: its ports and
// its sequence number (RFC 792).
const quoted = 8

// unreachable tells a TCP connection that its packets don't arrive, as an ICMP
// error does. To a connection in its handshake this is the end; others go on
// trying, and report it if they give up (RFC 1122, section 4.2.3.9). If they are
// too big, it goes on with smaller ones.
type unreachable struct {
	net           tcpip.NetworkProtocolNumber
	local, remote tcpip.Address
	transport     [quoted]byte
	kind          stack.TransportErrorKind
	info          uint32 // the longest payload of a packet, if one is too big
}

var _ stack.TransportError = unreachable{}

// Kind implements stack.TransportError.
func (u unreachable) Kind() stack.TransportErrorKind { return u.kind }

// Origin implements tcpip.SockErrorCause.
func (unreachable) Origin() tcpip.SockErrOrigin { return tcpip.SockExtErrorOriginLocal }

// Type implements tcpip.SockErrorCause.
func (unreachable) Type() uint8 { return 0 }

// Code implements tcpip.SockErrorCause.
func (unreachable) Code() uint8 { return 0 }

// Info implements tcpip.SockErrorCause.
func (u unreachable) Info() uint32 { return u.info }

// fail counts an outgoing packet that has no route, and arranges for its
// connection to be told. The stack ignores what WritePackets returns for TCP,
// and its lock is held now: runFailures does it. To all but TCP the error of
// WritePackets is enough.
func (e *endpoint) fail(pkt *stack.PacketBuffer, err error) {
	u := unreachable{net: pkt.NetworkProtocolNumber, kind: stack.DestinationNetworkUnreachableTransportError}
	if errors.Is(err, wireguard.ErrNoEndpoint) {
		u.kind = stack.DestinationHostUnreachableTransportError
		e.stats.routeNoEndpoint.Add(1)
	} else {
		e.stats.routeNoPeer.Add(1)
	}
	if pkt.TransportProtocolNumber != header.TCPProtocolNumber {
		return
	}
	ip := pkt.Network()
	u.local, u.remote = ip.SourceAddress(), ip.DestinationAddress()
	copy(u.transport[:], pkt.TransportHeader().Slice())
	e.report(u)
}

// report has a connection told whose lock is held now.
func (e *endpoint) report(u unreachable) {
	select {
	case e.failures <- u:
	default:
	}
}

// runFailures tells connections that they have no route, until done.
func (e *endpoint) runFailures(done <-chan struct{}) {
	for {
		select {
		case u := <-e.failures:
			e.tell(u)
		case <-done:
			return
		}
	}
}

// tell takes the lock of the connection.
func (e *endpoint) tell(u unreachable) {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(u.transport[:])})
	defer pkt.DecRef()
	pkt.NetworkProtocolNumber = u.net
	transport := e.transport
	if local, _ := netip.AddrFromSlice(u.local.AsSlice()); e.flows != nil && e.flows.foreign(local) {
		transport = e.flows.nic.transport
	}
	transport.DeliverTransportError(u.local, u.remote, u.net, header.TCPProtocolNumber, u, pkt)
}

// minPathMTUv4 is the smallest path MTU to believe: what every host has to
// accept (RFC 791, section 3.1). The stack would believe any, down to segments
// of one byte, and for good.
const minPathMTUv4 = 576

// icmpv4 looks at an incoming ICMP message before the stack does, and reports
// whether it may have it.
func icmpv4(icmp header.ICMPv4) bool {
	return len(icmp) < header.ICMPv4MinimumSize ||
		icmp.Type() != header.ICMPv4DstUnreachable || icmp.Code() != header.ICMPv4FragmentationNeeded ||
		icmp.MTU() >= minPathMTUv4
}

// icmpv6 is icmpv4 for IPv6. The stack does not know the codes of hosts that
// can't be reached, so it is told in a way that it knows.
func (e *endpoint) icmpv6(ip header.IPv6, icmp header.ICMPv6) bool {
	if len(icmp) < header.ICMPv6MinimumSize {
		return true
	}
	switch icmp.Type() {
	case header.ICMPv6PacketTooBig:
		return icmp.MTU() >= header.IPv6MinimumMTU
	case header.ICMPv6DstUnreachable:
		if code := icmp.Code(); code == header.ICMPv6NetworkUnreachable || code == header.ICMPv6PortUnreachable {
			return true
		}
		pseudo := header.PseudoHeaderChecksum(
			header.ICMPv6ProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(icmp)))
		if checksum.Checksum(icmp, pseudo) == 0xffff {
			e.hostUnreachable(header.IPv6(icmp[header.ICMPv6DstUnreachableMinimumSize:]))
		}
	}
	return true
}

// hostUnreachable tells the connection of a quoted IPv6 packet that the host
// at its other end can't be reached.
func (e *endpoint) hostUnreachable(quote header.IPv6) {
	if len(quote) < header.IPv6MinimumSize+quoted || quote.NextHeader() != uint8(header.TCPProtocolNumber) {
		return
	}
	e.tell(unreachable{
		net:       header.IPv6ProtocolNumber,
		local:     quote.SourceAddress(),
		remote:    quote.DestinationAddress(),
		transport: [quoted]byte(quote[header.IPv6MinimumSize:]),
		kind:      stack.DestinationHostUnreachableTransportError,
	})
}
