package main

import (
	"net/netip"
	"sync"
	"time"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/wireguard"
	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// greetInterval is the persistent keepalive of a peer that has none, until its first handshake: it makes the engine
// begin one at once, and go on after it gave up.
const greetInterval = 25 * time.Second

// greeter notes the handshakes of a tunnel.
type greeter struct {
	tunnel *tunnel
	met    chan<- meeting // has room for the first meeting with each peer, so that event never waits

	mu    sync.Mutex
	calls map[key.Public]call // guarded by mu
	next  chan struct{}       // guarded by mu; closed at the next handshake
}

// call is what became of our calling a peer.
type call struct {
	begun    time.Time // when the first initiation left that was not answered; zero if there is none
	answered time.Time // when the newest handshake was; zero for never
}

// meeting is the first handshake with a peer.
type meeting struct {
	tunnel   *tunnel
	peer     key.Public
	endpoint netip.AddrPort
	took     time.Duration // from our first initiation; 0 if the peer began
}

func newGreeter(t *tunnel, met chan<- meeting) *greeter {
	return &greeter{tunnel: t, met: met, calls: make(map[key.Public]call), next: make(chan struct{})}
}

// event is told by the Device what happens to its peers.
func (g *greeter) event(e engine.Event) {
	now := time.Now()
	k := e.Peer.Public()
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.calls[k]
	switch e.Kind {
	case engine.EventInitiation:
		if c.begun.IsZero() {
			c.begun = now
		}
	case engine.EventHandshake:
		if c.answered.IsZero() {
			g.met <- g.meeting(e, c, now)
		}
		c = call{answered: now.Round(0)} // by the wall clock, which goes on while the host sleeps
		close(g.next)
		g.next = make(chan struct{})
	}
	g.calls[k] = c
}

func (g *greeter) meeting(e engine.Event, c call, now time.Time) meeting {
	m := meeting{tunnel: g.tunnel, peer: e.Peer.Public()}
	if to, ok := e.Peer.Endpoint(); ok {
		m.endpoint = to.Addr
	}
	if !c.begun.IsZero() {
		m.took = now.Sub(c.begun)
	}
	return m
}

// call is what became of calling a peer so far.
func (g *greeter) call(peer key.Public) call {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls[peer]
}

// handshake is a channel that the next handshake with any peer closes.
func (g *greeter) handshake() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.next
}

// eager is the tunnel with a keepalive for each peer that can be greeted.
func eager(t config.Tunnel) config.Tunnel {
	peers := make([]config.Peer, len(t.Peers))
	copy(peers, t.Peers)
	for i := range peers {
		if peers[i].Endpoint != "" && peers[i].PersistentKeepalive == 0 {
			peers[i].PersistentKeepalive = greetInterval
		}
	}
	t.Peers = peers
	return t
}

// setKeepalive gives a peer another keepalive than it has. One for a peer that had none makes the engine send at once.
func setKeepalive(d *wireguard.Device, peer key.Public, interval time.Duration) {
	// Only a change of the port can fail.
	_ = d.Apply(wireguard.Change{Peers: []wireguard.PeerChange{{PeerChange: engine.PeerChange{
		PublicKey: peer, UpdateOnly: true, Keepalive: &interval,
	}}}})
}
