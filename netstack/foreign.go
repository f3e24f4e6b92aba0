package netstack

import (
	"fmt"
	"math"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// foreign is the interface of the stack that has every address but ours. It
// sends by the same link.
type foreign struct {
	*endpoint

	attached  atomic.Bool // set by the stack
	v4, v6    stack.NetworkEndpoint
	transport stack.TransportDispatcher
}

// Attach is told whether the stack is there.
func (f *foreign) Attach(d stack.NetworkDispatcher) {
	f.attached.Store(d != nil)
	if d != nil {
		f.transport = d.(stack.TransportDispatcher) // the stack's interface is both
	}
}

// IsAttached reports whether the stack is there.
func (f *foreign) IsAttached() bool { return f.attached.Load() }

// handle gives the stack a packet. What is verified goes straight to its
// transport layer: the network layer would compare the source with each of the
// addresses that there is a flow to, to know that it is not their broadcast.
func (f *foreign) handle(in *inbound, pkt *stack.PacketBuffer) {
	network, protocol := header.IPv6MinimumSize, header.IPv6(in.bytes).NextHeader()
	pkt.NetworkProtocolNumber = header.IPv6ProtocolNumber
	if in.version == header.IPv4Version {
		network, protocol = header.IPv4MinimumSize, header.IPv4(in.bytes).Protocol()
		pkt.NetworkProtocolNumber = header.IPv4ProtocolNumber
	}
	switch {
	case in.verdict == verified && (in.version == header.IPv6Version || header.IPv4(in.bytes).HeaderLength() == header.IPv4MinimumSize):
		pkt.NICID = nicID
		pkt.TransportProtocolNumber = tcpip.TransportProtocolNumber(protocol)
		pkt.NetworkHeader().Consume(network)
		pkt.TransportHeader().Consume(in.headers - network)
		f.transport.DeliverTransportPacket(pkt.TransportProtocolNumber, pkt)
	case in.version == header.IPv6Version:
		f.v6.HandlePacket(pkt)
	default:
		f.v4.HandlePacket(pkt)
	}
}

// start builds the stack of the flows on the link of e, with the options of
// the tunnel's own. It is called before the first packet.
//
// It is another stack than that one, so that a listener on all addresses is
// one on all of ours, and what we dial never ends here because a peer talks to
// the same address.
func (f *flows) start(e *endpoint, o stack.Options) error {
	o.HandleLocal = false // or else no source is believed to be another's
	f.nic = &foreign{endpoint: e}
	s := stack.New(o)
	if err := f.configure(s); err != nil {
		stopStack(s)
		return err
	}
	f.stack = s
	e.flows = f
	return nil
}

func (f *flows) configure(s *stack.Stack) error {
	if err := s.CreateNIC(nicID, f.nic); err != nil {
		return fmt.Errorf("netstack: interface: %v", err)
	}
	if err := s.SetPromiscuousMode(nicID, true); err != nil {
		return fmt.Errorf("netstack: any destination: %v", err)
	}
	if err := s.SetSpoofing(nicID, true); err != nil {
		return fmt.Errorf("netstack: any source: %v", err)
	}
	s.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: nicID},
		{Destination: header.IPv6EmptySubnet, NIC: nicID},
	})
	f.nic.v4, _ = s.GetNetworkEndpoint(nicID, header.IPv4ProtocolNumber)
	f.nic.v6, _ = s.GetNetworkEndpoint(nicID, header.IPv6ProtocolNumber)
	f.rejecter4, _ = s.NetworkProtocolInstance(ipv4.ProtocolNumber).(stack.RejectIPv4WithHandler)
	f.rejecter6, _ = s.NetworkProtocolInstance(ipv6.ProtocolNumber).(stack.RejectIPv6WithHandler)

	f.forwarder = tcp.NewForwarder(s, tcpBufferDefault, math.MaxInt, f.serveTCP)
	s.SetTransportProtocolHandler(tcp.ProtocolNumber, f.handleTCP)
	s.SetTransportProtocolHandler(udp.ProtocolNumber, f.handleUDP)
	s.SetTransportProtocolHandler(icmp.ProtocolNumber4, f.handleEcho)
	s.SetTransportProtocolHandler(icmp.ProtocolNumber6, f.handleEcho)
	return tune(s)
}
