// Package netstack is a TCP/IP stack in user space with the shape of package
// net: what a program dials, listens on and pings inside a WireGuard tunnel,
// without a TUN device or any privilege.
//
// Start with [Open], which joins the stack and a [wireguard.Device] into one
// tunnel. Then [Net.DialContext], [Net.Listen], [Net.ListenPacket] and
// [Net.Ping] do what their namesakes do. Names are looked up at the DNS
// servers in the tunnel ([Net.Resolver]); without one they are refused.
//
// Nothing here leaves by the host's network, and nothing is dropped on the way
// out: who sends more than the link takes waits. Errors are [net.OpError]
// around the [syscall.Errno] that a Linux socket would give, so that callers
// choose by errors.Is and never by text.
//
// # A packet's way
//
// Out: a connection hands the stack data; the stack hands the interface whole
// bursts of TCP, up to 64 KiB; segment cuts them straight into the slots of a
// batch (segment.go); the queue merges what is small and one goroutine gives
// it to the Device (transmit.go), but for acknowledgements that the next request
// will have anyway (delay.go). In: the Device calls deliver with all that
// came in one go (deliver.go), which verifies checksums; coalesce merges what
// came in a row of each connection (coalesce.go) and copies it for the stack,
// which is not told at once of what the other end got out of order
// (patience.go).
//
// Where long packets vanish on the way to a peer, connections go on with
// shorter ones (blackhole.go).
//
// What peers send to addresses that are not ours is dropped, unless
// [Options].Accept takes it: then this end is a gateway (flow.go), with a
// second stack for these addresses.
//
// The stack is gVisor's. It is imported here and nowhere else.
package netstack

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/wireguard"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Options are what Open can be given beside the tunnel. The zero value works.
type Options struct {
	// Logger gets what happens to the tunnel, never a packet or an address
	// inside it. Nil discards.
	Logger *slog.Logger
	// OnEvent is told what happens to peers, as wireguard.Config says. Nil is
	// allowed.
	OnEvent func(wireguard.Event)
	// ListenPacket opens the UDP sockets of the host. Nil uses package net.
	ListenPacket func(ctx context.Context, network, address string) (wireguard.PacketConn, error)
	// Hosts are names with known addresses, in lower case without the last
	// dot. They are not asked for.
	Hosts map[string][]netip.Addr
	// Resolve looks up the names of endpoints on the host. Nil uses package
	// net.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)

	// Accept makes this end a gateway: it is called for each flow that a peer
	// opens to an address which is not ours, in a goroutine of its own. Its
	// context ends with the tunnel, and Close waits for it to return; a flow
	// that it has not accepted then is refused. 2048 flows can wait for an
	// answer, 512 of each peer: connections beyond are reset, datagrams
	// dropped. Nil drops whatever is for such an address.
	Accept func(ctx context.Context, f Flow)
	// Echo is called in the same way for each ICMP echo request to such an
	// address. The request is answered if it returns nil. Else the error is
	// told as by Flow.Refuse, and as "prohibited" where that would refuse a
	// connection. Nil answers none. Without Accept it is not used.
	Echo func(ctx context.Context, source, destination netip.Addr, data []byte) error
}

// Net is a tunnel with a stack at this end. Its methods may be called by any
// number of goroutines.
type Net struct {
	nic    *endpoint
	stack  *stack.Stack
	device *wireguard.Device // nil in tests
	log    *slog.Logger      // nil discards
	flows  *flows            // nil if this is no gateway
	budget budget
	// congestion is the congestion control of all connections, "" if each has
	// the one that fits it.
	congestion tcpip.CongestionControlOption
	// resolver looks up names in the tunnel.
	resolver *Resolver
	// own are the tunnel's addresses at this end.
	own map[netip.Addr]bool
	// has4 and has6 say which families these are of.
	has4, has6 bool

	// gate is held for reading by whoever enters the stack with something
	// new, a packet or a connection. Close takes it to set closed, after which
	// no connection enters, and then deaf, after which no packet does.
	gate         sync.RWMutex
	closed, deaf bool // guarded by gate
	// done is closed when closed is set.
	done chan struct{}

	closing sync.Once
	tasks   sync.WaitGroup // the goroutines on the stack's side
	stop    func()         // ends the Device and waits for it
}

// Open brings a tunnel up: the sockets are open when it returns, a handshake
// starts with the first packet. The context is for Open alone; the tunnel
// lives until Close. It silences the log of gVisor for the whole process.
func Open(ctx context.Context, t config.Tunnel, o Options) (*Net, error) {
	n := &Net{log: o.Logger, congestion: tcpip.CongestionControlOption(t.CongestionControl)}
	n.flows = newFlows(n, o)
	device, err := wireguard.New(wireguard.Config{
		PrivateKey:   t.PrivateKey,
		ListenPort:   t.ListenPort,
		MTU:          t.MTU,
		Peers:        peers(t.Peers),
		Deliver:      n.deliver,
		Logger:       o.Logger,
		OnEvent:      o.OnEvent,
		ListenPacket: o.ListenPacket,
		Resolve:      o.Resolve,
	})
	if err != nil {
		return nil, err
	}
	if err := n.start(device, t.Addresses, stackOptions()); err != nil {
		return nil, err
	}
	n.device = device
	n.resolver.configure(t, o.Hosts)
	if err := n.run(ctx, device); err != nil {
		n.Close()
		return nil, fmt.Errorf("netstack: %w", err)
	}
	return n, nil
}

// run starts the Device and waits until it has its sockets.
func (n *Net) run(ctx context.Context, d *wireguard.Device) error {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	var failure error
	go func() {
		defer close(ended)
		failure = d.Run(life)
	}()
	n.stop = func() {
		cancel()
		<-ended
	}
	select {
	case <-d.Ready():
		return nil
	case <-ended:
		return failure
	case <-ctx.Done():
		return ctx.Err()
	}
}

// peers turns the peers of a configuration into those of a Device.
func peers(configured []config.Peer) []wireguard.PeerChange {
	var changes []wireguard.PeerChange
	for _, p := range configured {
		var c wireguard.PeerChange
		c.PublicKey = p.PublicKey
		c.PresharedKey = &p.PresharedKey
		c.AllowedIPs = p.AllowedIPs
		c.Keepalive = &p.PersistentKeepalive
		if endpoint, err := netip.ParseAddrPort(p.Endpoint); err == nil {
			c.Endpoint = &endpoint
		} else {
			c.EndpointName = p.Endpoint
		}
		changes = append(changes, c)
	}
	return changes
}

// start builds the stack on a link and starts this package's goroutines.
func (n *Net) start(l link, addresses []netip.Prefix, o stack.Options) error {
	nic := newEndpoint(l)
	s, err := newStack(nic, addresses, o)
	if err != nil {
		return err
	}
	if n.flows != nil {
		if err := n.flows.start(nic, o); err != nil {
			stopStack(s)
			return err
		}
	}
	n.nic, n.stack, n.stop, n.done = nic, s, func() {}, make(chan struct{})
	nic.gaps.tell = n.tell
	nic.holes.start(n.stacks(), n.log)
	n.own = make(map[netip.Addr]bool)
	for _, p := range addresses {
		n.own[p.Addr()] = true
		n.has4 = n.has4 || p.Addr().Is4()
		n.has6 = n.has6 || p.Addr().Is6()
	}
	n.budget.start(s.Clock(), n.stacks())
	n.resolver = newResolver(n)
	n.tasks.Go(nic.queue.run)
	n.tasks.Go(func() { nic.runFailures(n.done) })
	return nil
}

// Resolver looks up names at the tunnel's DNS servers.
func (n *Net) Resolver() *Resolver { return n.resolver }

// Device is the WireGuard interface of the tunnel.
func (n *Net) Device() *wireguard.Device { return n.device }

// deliver takes packets from the Device.
func (n *Net) deliver(packets [][]byte) {
	n.gate.RLock()
	defer n.gate.RUnlock()
	if !n.deaf {
		n.nic.deliver(packets)
	}
}

// tell gives the stack acknowledgements that were kept from it.
func (n *Net) tell(packets [][]byte) {
	n.gate.RLock()
	defer n.gate.RUnlock()
	if !n.deaf {
		n.nic.handKept(packets)
	}
}

// enter is called before a connection enters the stack, leave after it. It
// returns net.ErrClosed after Close.
func (n *Net) enter() error {
	n.gate.RLock()
	if n.closed {
		n.gate.RUnlock()
		return net.ErrClosed
	}
	return nil
}

func (n *Net) leave() { n.gate.RUnlock() }

// unlessClosed is err, or net.ErrClosed if that is the reason for it.
func (n *Net) unlessClosed(err error) error {
	select {
	case <-n.done:
		return net.ErrClosed
	default:
		return err
	}
}
