package netstack

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// nicID is the stack's only interface.
const nicID = 1

// Settings of the stack. Buffers begin small and grow with what a connection
// moves in a round trip, to 400 Mbit/s at 80 ms; half of a receive buffer is
// advertised. Where many connections are busy, each gets less (budget.go).
const (
	tcpBufferMin     = 4 << 10
	tcpBufferDefault = 256 << 10
	tcpReceiveMax    = 8 << 20
	tcpSendMax       = 6 << 20
	datagramBuffer   = 512 << 10 // of each UDP and ICMP socket
	// timeWait is shorter than twice the lifetime of a segment (RFC 9293,
	// section 3.4.2), so that ports are free again for many short connections
	// to one address; timestamps tell old segments from new ones.
	timeWait = 5 * time.Second
)

// silence drops the stack's own log, which goes to stderr with addresses of
// clients in it. Some of it keeps the target that it had first, and is of level
// Info. The log belongs to the process, and setting it is not safe beside
// another that does: it is done once.
var silence = sync.OnceFunc(func() {
	log.SetLevel(log.Warning)
	log.SetTarget(discard{})
})

// newStack returns a stack with e as its interface and the addresses as its
// own.
func newStack(e *endpoint, addresses []netip.Prefix, o stack.Options) (*stack.Stack, error) {
	silence()
	s := stack.New(o)
	if err := configure(s, e, addresses); err != nil {
		stopStack(s)
		return nil, err
	}
	return s, nil
}

// stackOptions are what a stack can't be changed in later.
func stackOptions() stack.Options {
	return stack.Options{
		// Neither neighbours nor routers are behind the interface: by default
		// nothing is solicited, advertised, joined or configured by packets.
		NetworkProtocols: []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{
			tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6,
		},
		HandleLocal: true,
	}
}

func configure(s *stack.Stack, e *endpoint, addresses []netip.Prefix) error {
	if err := s.CreateNIC(nicID, e); err != nil {
		return fmt.Errorf("netstack: interface: %v", err)
	}
	e.stack = s
	e.v4, _ = s.GetNetworkEndpoint(nicID, header.IPv4ProtocolNumber)
	e.v6, _ = s.GetNetworkEndpoint(nicID, header.IPv6ProtocolNumber)
	for _, p := range addresses {
		if p.Addr().Is6() && e.mtu < header.IPv6MinimumMTU {
			return fmt.Errorf("netstack: address %v: IPv6 needs an MTU of %d, not %d", p, header.IPv6MinimumMTU, e.mtu)
		}
		// The link has two ends: no address of the prefix is a broadcast.
		err := s.AddProtocolAddress(nicID, tcpip.ProtocolAddress{
			Protocol:          protocolOf(p.Addr()),
			AddressWithPrefix: stackAddr(p.Addr()).WithPrefix(),
		}, stack.AddressProperties{})
		if err != nil {
			return fmt.Errorf("netstack: address %v: %v", p, err)
		}
	}
	s.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: nicID},
		{Destination: header.IPv6EmptySubnet, NIC: nicID},
	})
	return tune(s)
}

// tune sets what differs from the stack's defaults.
func tune(s *stack.Stack) error {
	// No RACK: patience.go has what is good about it here. With it, a connection
	// that lost much at once counted segments as under way that were lost, and
	// crawled from one time-out to the next, a segment each.
	recovery, congestion := tcpip.TCPRecovery(0), reno
	// The stack is not asked to make receive buffers larger (tcpbuffer.go does),
	// but takes the scale of windows from the largest size only if it could be.
	receive, send := bufferSizes(tcpBufferDefault)
	sack, moderate := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true)
	wait, reuse := tcpip.TCPTimeWaitTimeoutOption(timeWait), tcpip.TCPTimeWaitReuseGlobal
	for _, o := range []tcpip.SettableTransportProtocolOption{
		&sack, &recovery, &congestion, &moderate, &receive, &send, &wait, &reuse,
	} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("netstack: option %T: %v", o, err)
		}
	}
	for _, o := range []any{
		tcpip.ReceiveBufferSizeOption{Min: tcpBufferMin, Default: datagramBuffer, Max: tcpReceiveMax},
		tcpip.SendBufferSizeOption{Min: tcpBufferMin, Default: datagramBuffer, Max: tcpSendMax},
	} {
		if err := s.SetOption(o); err != nil {
			return fmt.Errorf("netstack: option %T: %v", o, err)
		}
	}
	return nil
}

// stopStack ends all connections with a reset and joins the stack's
// goroutines. Nobody may enter the stack any more, and nobody in it may wait
// for the link.
func stopStack(s *stack.Stack) {
	// Without TCP's goroutines no connection can arise any more.
	t := s.TransportProtocolInstance(tcp.ProtocolNumber)
	t.Close()
	t.Wait()
	for _, ep := range append(s.RegisteredEndpoints(), s.CleanupEndpoints()...) {
		ep.Abort()
	}
	s.Close()
	s.Wait()
}

// discard drops what the stack logs.
type discard struct{}

// Emit implements log.Emitter.
func (discard) Emit(int, log.Level, time.Time, string, ...any) {}

// stackAddr is an address as the stack has it.
func stackAddr(a netip.Addr) tcpip.Address {
	if a.Is4() {
		return tcpip.AddrFrom4(a.As4())
	}
	return tcpip.AddrFrom16(a.As16())
}

// fullAddr is an address with a port as the stack has it. An invalid address
// is any.
func fullAddr(a netip.AddrPort) tcpip.FullAddress {
	f := tcpip.FullAddress{Port: a.Port()}
	if a.IsValid() {
		f.Addr = stackAddr(a.Addr())
	}
	return f
}

// addrPort is the reverse of fullAddr.
func addrPort(f tcpip.FullAddress) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(f.Addr.AsSlice())
	return netip.AddrPortFrom(addr.Unmap(), f.Port)
}

// protocolOf is the stack's number of an address's family.
func protocolOf(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return header.IPv4ProtocolNumber
	}
	return header.IPv6ProtocolNumber
}
