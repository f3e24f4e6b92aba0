package engine

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// Snapshot is an engine's state at one moment. It holds no secret.
type Snapshot struct {
	// PublicKey is ours, and zero without a private key.
	PublicKey key.Public
	// Peers are in the order of their public keys' text.
	Peers []PeerSnapshot
}

// PeerSnapshot is one peer's state.
type PeerSnapshot struct {
	PublicKey    key.Public
	HasPreshared bool
	Endpoint     netip.AddrPort // not valid while unknown
	AllowedIPs   []netip.Prefix // sorted
	Keepalive    time.Duration
	// LastHandshake is when the newest session was confirmed, zero for never.
	LastHandshake time.Time
	// Received and Sent count bytes of UDP payload, handshakes included.
	Received, Sent uint64
}

// Snapshot describes the engine. It locks each peer in turn; it must not run
// at the same time as Apply.
func (e *Engine) Snapshot() Snapshot {
	var s Snapshot
	if id := e.identity.Load(); id != nil {
		s.PublicKey = id.Public()
	}
	for _, p := range *e.peers.Load() {
		s.Peers = append(s.Peers, p.snapshot())
	}
	slices.SortFunc(s.Peers, func(a, b PeerSnapshot) int { return strings.Compare(a.PublicKey.String(), b.PublicKey.String()) })
	return s
}

func (p *Peer) snapshot() PeerSnapshot {
	p.lock.Lock()
	defer p.lock.Unlock()
	s := PeerSnapshot{
		PublicKey: p.public, HasPreshared: !p.preshared.IsZero(),
		AllowedIPs: slices.SortedFunc(maps.Keys(p.allowed), netip.Prefix.Compare),
		Keepalive:  p.persistent,
		Received:   p.received.Load(), Sent: p.sent.Load(),
	}
	if to, ok := p.Endpoint(); ok {
		s.Endpoint = to.Addr
	}
	if at := p.lastHandshake.Load(); at != 0 {
		s.LastHandshake = time.Unix(0, at)
	}
	return s
}
