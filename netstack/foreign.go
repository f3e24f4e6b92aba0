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

// foreignNIC is the stack's second interface.
const foreignNIC = nicID + 1

// foreign is the interface of addresses that are not ours: it takes packets to
// any, and lets the stack answer from any. It is apart from the tunnel's own
// so that a listener on all addresses is one on all of ours, and what we dial
// never ends in this stack because a peer talks to the same address. What it
// sends goes the same way.
type foreign struct {
	*endpoint
	v4, v6   stack.NetworkEndpoint
	attached atomic.Bool // set by the stack
}

// Attach is told whether the stack is there.
func (f *foreign) Attach(d stack.NetworkDispatcher) { f.attached.Store(d != nil) }

// IsAttached reports whether the stack is there.
func (f *foreign) IsAttached() bool { return f.attached.Load() }

// attach makes s give the flows what peers send to addresses that are not
// ours. It is called before the first packet.
func (f *flows) attach(s *stack.Stack, e *endpoint) error {
	f.nic = &foreign{endpoint: e}
	if err := s.CreateNIC(foreignNIC, f.nic); err != nil {
		return fmt.Errorf("netstack: interface: %v", err)
	}
	if err := s.SetPromiscuousMode(foreignNIC, true); err != nil {
		return fmt.Errorf("netstack: any destination: %v", err)
	}
	if err := s.SetSpoofing(foreignNIC, true); err != nil {
		return fmt.Errorf("netstack: any source: %v", err)
	}
	// Behind the routes of the tunnel's own interface, which come first for
	// all that does not name this one.
	s.AddRoute(tcpip.Route{Destination: header.IPv4EmptySubnet, NIC: foreignNIC})
	s.AddRoute(tcpip.Route{Destination: header.IPv6EmptySubnet, NIC: foreignNIC})
	f.nic.v4, _ = s.GetNetworkEndpoint(foreignNIC, header.IPv4ProtocolNumber)
	f.nic.v6, _ = s.GetNetworkEndpoint(foreignNIC, header.IPv6ProtocolNumber)
	f.rejecter4, _ = s.NetworkProtocolInstance(ipv4.ProtocolNumber).(stack.RejectIPv4WithHandler)
	f.rejecter6, _ = s.NetworkProtocolInstance(ipv6.ProtocolNumber).(stack.RejectIPv6WithHandler)

	f.forwarder = tcp.NewForwarder(s, tcpBufferDefault, math.MaxInt, f.serveTCP)
	s.SetTransportProtocolHandler(tcp.ProtocolNumber, ifForeign(f.handleTCP))
	s.SetTransportProtocolHandler(udp.ProtocolNumber, ifForeign(f.handleUDP))
	s.SetTransportProtocolHandler(icmp.ProtocolNumber4, ifForeign(f.handleEcho))
	s.SetTransportProtocolHandler(icmp.ProtocolNumber6, ifForeign(f.handleEcho))
	e.flows = f
	return nil
}

// handler takes a packet that no socket is there for. If it returns false the
// stack answers: with a reset, or that the port can't be reached.
type handler = func(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool

// ifForeign leaves packets for our own addresses to the stack.
func ifForeign(h handler) handler {
	return func(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
		return pkt.NICID == foreignNIC && h(id, pkt)
	}
}
