package netstack

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/wimble-proxy/wimble/wireguard"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Flow is what a peer wants of an address that is not the tunnel's: a TCP
// connection, or datagrams between two UDP ports. The peer is answered when
// the flow is accepted or refused, so that it sees the fate of the way beyond
// as its own. A Flow belongs to one goroutine at a time, and to none after the
// function that it was given to has returned.
type Flow interface {
	// Network is tcp or udp.
	Network() string
	// Source is where the peer sends from.
	Source() netip.AddrPort
	// Destination is where it sends to. An IPv4-mapped address never occurs.
	Destination() netip.AddrPort
	// Accept takes the flow and returns its end here, a [*TCPConn] or a
	// [*UDPConn], which stays open after the function returned. For TCP it
	// waits for the end of the handshake, 20 seconds at most. The error is a
	// [*net.OpError]: around net.ErrClosed after Close, or when the flow is
	// decided already, and else around the peer's reason.
	Accept() (net.Conn, error)
	// Refuse tells the peer that there is no way: that the destination's
	// host or network can't be reached, if err is EHOSTUNREACH or ENETUNREACH
	// or the like by errors.Is; nothing, as if the packet was lost, if err is
	// a time-out; and for all others, nil too, that it does not take the
	// connection or the datagram. A UDP flow can be refused after Accept too,
	// by one whose target turns out to refuse; that closes the connection.
	Refuse(err error)
}

// Bounds of the flows that are waiting: for a decision, or for the end of a
// handshake.
const (
	maxPending        = 2048
	maxPendingPerPeer = 512
)

// flows takes the packets that peers send to addresses that are not ours. They
// have a stack of their own (foreign.go), and what no socket there knows is a
// new flow.
type flows struct {
	net    *Net
	accept func(context.Context, Flow)
	echo   func(ctx context.Context, source, destination netip.Addr, data []byte) error

	// ctx ends with the tunnel.
	ctx    context.Context
	cancel context.CancelFunc

	stack     *stack.Stack
	nic       *foreign
	rejecter4 stack.RejectIPv4WithHandler
	rejecter6 stack.RejectIPv6WithHandler
	// forwarder makes the stack's requests of SYNs. It has no limit: pending
	// is what limits.
	forwarder *tcp.Forwarder

	pending pending

	mu sync.Mutex
	// opening are the TCP flows that are pending. Guarded by mu.
	opening map[stack.TransportEndpointID]*tcpFlow

	offered, excess, echoes atomic.Uint64
}

// newFlows returns the flows of a Net, or nil if it takes none.
func newFlows(n *Net, o Options) *flows {
	if o.Accept == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &flows{
		net: n, accept: o.Accept, echo: o.Echo, ctx: ctx, cancel: cancel,
		pending: pending{max: maxPending, maxPerPeer: maxPendingPerPeer},
		opening: make(map[stack.TransportEndpointID]*tcpFlow),
	}
}

// foreign reports whether a packet to dst is for the flows: not for one of our
// own addresses, nor for one that nobody has.
func (f *flows) foreign(dst netip.Addr) bool {
	switch {
	case f.net.own[dst]:
		return false
	case dst.IsUnspecified(), dst.IsLoopback(), dst.IsMulticast(), dst.Is4In6(), dst == broadcast:
		return false
	}
	return true
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// flow is what TCP and UDP flows have in common.
type flow struct {
	flows               *flows
	network             string
	source, destination netip.AddrPort
	peer                wireguard.Route
	// packet is the one that began the flow, for errors to quote. It is nil
	// when the flow is not to be refused any more.
	packet *stack.PacketBuffer
	// decided says that it was accepted or refused.
	decided bool
}

// newFlow returns the flow that a packet begins. It fails if there is no way
// back to where the packet claims to come from, and when the tunnel ends.
func (f *flows) newFlow(network string, id stack.TransportEndpointID, pkt *stack.PacketBuffer) (flow, error) {
	if f.ctx.Err() != nil {
		return flow{}, net.ErrClosed
	}
	source, destination := endpointAddrs(id)
	if f.net.own[source.Addr()] {
		return flow{}, syscall.EINVAL // whoever may send for us, it was not us
	}
	peer, err := f.nic.route(source.Addr())
	if err != nil {
		return flow{}, err
	}
	return flow{
		flows: f, network: network, source: source, destination: destination,
		peer: peer, packet: pkt.Clone(),
	}, nil
}

// endpointAddrs are the addresses of a flow. The remote end is the source.
func endpointAddrs(id stack.TransportEndpointID) (source, destination netip.AddrPort) {
	return addrPort(tcpip.FullAddress{Addr: id.RemoteAddress, Port: id.RemotePort}),
		addrPort(tcpip.FullAddress{Addr: id.LocalAddress, Port: id.LocalPort})
}

func (f *flow) Network() string             { return f.network }
func (f *flow) Source() netip.AddrPort      { return f.source }
func (f *flow) Destination() netip.AddrPort { return f.destination }

// failure is an error of Accept.
func (f *flow) failure(err error) error {
	return opError("accept", f.network, netAddr(f.network, f.destination), netAddr(f.network, f.source), err)
}

// forget ends the flow's hold on its packet.
func (f *flow) forget() {
	if f.packet != nil {
		f.packet.DecRef()
		f.packet = nil
	}
}

// pending counts what waits, in all and of each peer: by its route, so that a
// peer gains nothing by using many addresses.
type pending struct {
	max, maxPerPeer int

	mu    sync.Mutex
	count int                     // guarded by mu
	peers map[wireguard.Route]int // guarded by mu; has no zeros
}

// enter takes a place, if there is one.
func (p *pending) enter(peer wireguard.Route) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count >= p.max || p.peers[peer] >= p.maxPerPeer {
		return false
	}
	if p.peers == nil {
		p.peers = make(map[wireguard.Route]int)
	}
	p.count++
	p.peers[peer]++
	return true
}

// leave gives it back.
func (p *pending) leave(peer wireguard.Route) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count--
	p.peers[peer]--
	if p.peers[peer] == 0 {
		delete(p.peers, peer)
	}
}

// now is how many places are taken.
func (p *pending) now() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}
