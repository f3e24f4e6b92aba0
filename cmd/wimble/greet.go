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

// greeter notes the first handshake with each peer.
type greeter struct {
	met chan meeting // with room for all, so that event never waits

	mu    sync.Mutex
	begun map[key.Public]time.Time // guarded by mu; when our first initiation left
	known map[key.Public]bool      // guarded by mu; peers that were met
}

// meeting is the first handshake with a peer.
type meeting struct {
	peer     key.Public
	endpoint netip.AddrPort
	took     time.Duration // from our first initiation; 0 if the peer began
}

func newGreeter(peers int) *greeter {
	return &greeter{
		met:   make(chan meeting, peers),
		begun: make(map[key.Public]time.Time),
		known: make(map[key.Public]bool),
	}
}

// event is told by the Device what happens to its peers.
func (g *greeter) event(e engine.Event) {
	now := time.Now()
	k := e.Peer.Public()
	g.mu.Lock()
	defer g.mu.Unlock()
	begun, ours := g.begun[k]
	switch {
	case g.known[k]:
	case e.Kind == engine.EventInitiation && !ours:
		g.begun[k] = now
	case e.Kind == engine.EventHandshake:
		g.known[k] = true
		m := meeting{peer: k}
		if to, ok := e.Peer.Endpoint(); ok {
			m.endpoint = to.Addr
		}
		if ours {
			m.took = now.Sub(begun)
		}
		g.met <- m
	}
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

// calm gives a peer that was met the keepalive that its configuration says.
func calm(d *wireguard.Device, p config.Peer) {
	// Only a change of the port can fail.
	_ = d.Apply(wireguard.Change{Peers: []wireguard.PeerChange{{PeerChange: engine.PeerChange{
		PublicKey: p.PublicKey, UpdateOnly: true, Keepalive: &p.PersistentKeepalive,
	}}}})
}
