// Package wireguard is one WireGuard interface in user space: the shell around
// package engine. It owns the UDP sockets, the goroutines and the locks, and
// nothing clever; what to do with a message is the engine's to say. It has no
// TUN: IP packets go out by Device.Send and come in by Config.Deliver.
//
// Start with New and Run. A Device is used by netstack, or by whoever has IP
// packets of their own.
//
// # A packet's way
//
// Out: Route -> NewBatch -> Send (seal, transmit, rearm). In: receive ->
// classify -> admit -> find -> open -> commit -> police -> Deliver.
//
// # Goroutines
//
// Run owns one receiver for each socket, one timer loop, one handshake worker,
// and a short-lived one for each endpoint name that is being resolved. It
// returns when all of them have ended.
package wireguard

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// DefaultMTU is what fits a path of 1500 bytes over IPv6: 1500 less 40 for
// IPv6, 8 for UDP and 32 for the data message.
const DefaultMTU = 1420

// Errors of Route.
var (
	// ErrNoPeer: the address is in no peer's AllowedIPs.
	ErrNoPeer = errors.New("wireguard: no peer has this address in its AllowedIPs")
	// ErrNoEndpoint: the peer's address is not known: its name does not
	// resolve yet, or it has to call first.
	ErrNoEndpoint = errors.New("wireguard: the peer has no endpoint yet")
)

// Config is what a Device is made with. Only Deliver is required.
type Config struct {
	// PrivateKey is our static key. A zero one sends and answers nothing.
	PrivateKey key.Private
	// ListenPort is the UDP port; 0 lets the system choose.
	ListenPort uint16
	// MTU is the largest IP packet; 0 means DefaultMTU.
	MTU int
	// Peers are the first peers; Apply changes them later.
	Peers []PeerChange
	// Deliver takes IP packets that came in, in order per peer. They are the
	// Device's again when it returns. It is called by several goroutines and
	// must not block for long: every peer waits. A change of the port waits for
	// it, so it must not make one.
	Deliver func(packets [][]byte)
	// OnEvent is told what happens to peers. It is called by several
	// goroutines without any lock, and must return soon and not change the port,
	// as Deliver. Nil is allowed.
	OnEvent func(Event)
	// Logger gets handshakes and state changes at Info, never a packet. Nil
	// discards.
	Logger *slog.Logger
	// ListenPacket opens a UDP socket of the host: network is "udp4" or
	// "udp6", address ":port". Nil uses package net. One that sends through
	// this very tunnel must lose what that does not take at once: a tunnel
	// can't wait for itself.
	ListenPacket func(ctx context.Context, network, address string) (PacketConn, error)
	// Resolve looks up the name of an endpoint with the host's resolver. Nil
	// uses package net's own.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Clock returns the present time; nil uses the system's boot-time clock.
	Clock func() engine.Time
	// Rand is the source of keys, indices and jitter; nil is crypto/rand.
	Rand io.Reader
}

// Event is something that happened to a peer.
type Event = engine.Event

// Change is a difference to apply to a running Device. What is nil or empty
// stays as it is.
type Change struct {
	PrivateKey *key.Private
	// ListenPort moves the sockets to another port; sessions go on.
	ListenPort   *uint16
	ReplacePeers bool
	Peers        []PeerChange
}

// PeerChange is a difference of one peer.
type PeerChange struct {
	engine.PeerChange
	// EndpointName is a host name with a port, instead of an Endpoint. It is
	// resolved, again and again while nothing answers.
	EndpointName string
}

// Device is one WireGuard interface.
type Device struct {
	engine    *engine.Engine
	mtu       int
	deliver   func([][]byte)
	onEvent   func(engine.Event)
	log       *slog.Logger
	clock     func() engine.Time
	pool      Pool
	outputs   sync.Pool // of *engine.Output
	timers    timerQueue
	work      handshakeQueue
	sockets   sockets
	endpoints endpoints
	renewal   renewal

	// configuring serialises what the engine wants to run alone.
	configuring sync.Mutex
	ran         atomic.Bool
	ready       chan struct{} // closed by Run
}

// New returns a Device that does not run yet. It costs a Diffie-Hellman
// computation for each peer.
func New(c Config) (*Device, error) {
	if c.Deliver == nil {
		return nil, errors.New("wireguard: Config.Deliver is required")
	}
	if c.MTU == 0 {
		c.MTU = DefaultMTU
	}
	if c.MTU < 0 || c.MTU > maxBatchBytes-engine.SealedSize(0, 0) {
		return nil, fmt.Errorf("wireguard: an MTU of %d does not fit a UDP datagram", c.MTU)
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Clock == nil {
		c.Clock = bootClock()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Device{
		mtu: c.MTU, deliver: c.Deliver, onEvent: c.OnEvent, log: c.Logger, clock: c.Clock,
		ready: make(chan struct{}),
		engine: engine.New(engine.Config{
			Rand: c.Rand, MTU: c.MTU, NewLock: func() engine.Locker { return new(sync.Mutex) },
		}),
	}
	d.work.init()
	d.timers.init()
	d.renewal.init()
	d.sockets.init(c.ListenPacket, c.ListenPort, d.log)
	d.endpoints.init(c.Resolve, d)
	d.apply(Change{PrivateKey: &c.PrivateKey, Peers: c.Peers})
	return d, nil
}

// Run opens the sockets and serves until ctx ends; it then closes them, joins
// every goroutine, wipes the sessions and returns nil. It returns an error at
// once when no socket can be opened. A Device runs once.
func (d *Device) Run(ctx context.Context) error {
	if d.ran.Swap(true) {
		return errors.New("wireguard: a Device runs only once")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var tasks sync.WaitGroup
	if err := d.sockets.open(ctx, func(s *socket) { tasks.Go(func() { d.receive(s) }) }); err != nil {
		return err
	}
	tasks.Go(func() { d.runHandshakes(ctx) })
	tasks.Go(func() { d.runTimers(ctx, &tasks) })

	d.configure(func(out *engine.Output) { d.engine.Up(d.clock(), out) })
	close(d.ready)
	<-ctx.Done()
	d.sockets.close()
	tasks.Wait()
	d.configure(func(*engine.Output) { d.engine.Down() })
	return nil
}

// Ready is closed when Run has its sockets open and packets can be sent.
func (d *Device) Ready() <-chan struct{} { return d.ready }

// configure runs f alone and then does what the engine wants done.
func (d *Device) configure(f func(out *engine.Output)) {
	out := d.output()
	d.configuring.Lock()
	f(out)
	d.configuring.Unlock()
	d.finish(out)
}

// Apply changes the device while it runs. Only a change of the port can fail,
// and then nothing else was changed.
func (d *Device) Apply(c Change) error {
	if c.ListenPort != nil {
		if err := d.sockets.move(*c.ListenPort); err != nil {
			return err
		}
		d.engine.ForgetSources()
	}
	d.apply(c)
	return nil
}

func (d *Device) apply(c Change) {
	ec := engine.Change{PrivateKey: c.PrivateKey, ReplacePeers: c.ReplacePeers}
	for i := range c.Peers {
		ec.Peers = append(ec.Peers, c.Peers[i].PeerChange)
	}
	d.configure(func(out *engine.Output) { d.engine.Apply(d.clock(), ec, out) })
	if c.ReplacePeers || slices.ContainsFunc(c.Peers, func(p PeerChange) bool { return p.Remove }) {
		d.timers.forget(func(p *engine.Peer) bool { return d.engine.Peer(p.Public()) != p })
	}
	d.endpoints.apply(c)
}

// Snapshot describes the device without any secret.
func (d *Device) Snapshot() engine.Snapshot {
	d.configuring.Lock()
	defer d.configuring.Unlock()
	return d.engine.Snapshot()
}

// Drops counts dropped packets by reason.
func (d *Device) Drops() map[string]uint64 {
	counts := map[string]uint64{}
	for reason, n := range d.engine.Drops() {
		if n > 0 {
			counts[engine.Drop(reason).String()] = n
		}
	}
	return counts
}

// ListenPort is the UDP port in use, and 0 before Run.
func (d *Device) ListenPort() uint16 { return d.sockets.port() }

// MTU is the largest IP packet, in bytes.
func (d *Device) MTU() int { return d.mtu }

// output takes an Output that finish gives back.
func (d *Device) output() *engine.Output {
	if out, ok := d.outputs.Get().(*engine.Output); ok {
		return out
	}
	return new(engine.Output)
}

// finish does what the engine asked for; no lock is held. The Output is the
// Device's again.
func (d *Device) finish(out *engine.Output) {
	d.act(out)
	d.outputs.Put(out)
}

// act does what the engine asked for and empties the Output.
func (d *Device) act(out *engine.Output) {
	for i := range out.Datagrams {
		dg := &out.Datagrams[i]
		sent := d.transmit(dg.Bytes, len(dg.Bytes), dg.To)
		if !sent && dg.Initiator != nil {
			d.tryOthers(dg)
		}
	}
	for _, p := range out.Initiate {
		d.work.initiate(p)
	}
	for _, p := range out.Rearm {
		d.timers.rearm(p)
	}
	for i := range out.Events {
		d.event(out.Events[i])
	}
	out.Reset()
}

// event reports to people and to whoever asked.
func (d *Device) event(e engine.Event) {
	to, _ := e.Peer.Endpoint()
	switch e.Kind {
	case engine.EventHandshake:
		d.log.Info("handshake", "peer", e.Peer.Public().Short(), "endpoint", to.Addr.String())
	case engine.EventGaveUp:
		d.log.Info("no answer, waiting for traffic", "peer", e.Peer.Public().Short(), "endpoint", to.Addr.String())
	case engine.EventEndpoint:
		d.log.Info("endpoint", "peer", e.Peer.Public().Short(), "endpoint", to.Addr.String())
	case engine.EventOldTimestamp:
		d.log.Info("an initiation was refused: it is not newer than the last; it was replayed, or the peer's clock went back",
			"peer", e.Peer.Public().Short())
	case engine.EventInitiation:
		d.log.Debug("initiation", "peer", e.Peer.Public().Short(), "attempt", e.Attempt)
	case engine.EventKeysZeroed:
		d.log.Debug("keys zeroed", "peer", e.Peer.Public().Short())
	}
	d.endpoints.event(e)
	d.renewal.event(d, e)
	if d.onEvent != nil {
		d.onEvent(e)
	}
}
