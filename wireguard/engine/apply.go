package engine

import (
	"maps"
	"math"
	"net/netip"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// Change is a difference to apply. What is nil or empty stays as it is.
type Change struct {
	// PrivateKey is our new static key; a zero one means no identity.
	PrivateKey *key.Private
	// ReplacePeers removes every peer that Peers does not name.
	ReplacePeers bool
	// Peers are applied in their order.
	Peers []PeerChange
}

// PeerChange is a difference of one peer, which is made if it does not exist.
type PeerChange struct {
	PublicKey key.Public
	// Remove removes the peer, and is no error if there is none.
	Remove bool
	// UpdateOnly makes the change only if the peer exists.
	UpdateOnly bool
	// PresharedKey takes effect with the next handshake; a zero one means none.
	PresharedKey *key.Preshared
	// Endpoint is where the peer is to be reached.
	Endpoint *netip.AddrPort
	// Keepalive is the persistent keepalive's interval; 0 switches it off.
	Keepalive *time.Duration
	// ReplaceAllowedIPs takes away every prefix before AllowedIPs are given.
	ReplaceAllowedIPs bool
	// AllowedIPs are given to the peer, masked, and taken from whoever had
	// them.
	AllowedIPs []netip.Prefix
	// RemoveAllowedIPs are taken from the peer if it has them.
	RemoveAllowedIPs []netip.Prefix
}

// Apply makes a change at run time, as the kernel does: sessions go on unless
// the private key changes. A peer with our own public key is silently ignored,
// and so is a peer too many. Apply costs a Diffie-Hellman computation for each
// new peer, and one for every peer when the private key changes.
func (e *Engine) Apply(now Time, c Change, out *Output) {
	peers := maps.Clone(*e.peers.Load())
	if c.ReplacePeers {
		named := map[key.Public]bool{}
		for i := range c.Peers {
			named[c.Peers[i].PublicKey] = true
		}
		for k, p := range peers {
			if !named[k] {
				e.removePeer(peers, p)
			}
		}
	}
	if c.PrivateKey != nil {
		e.setPrivateKey(*c.PrivateKey, peers, now, out)
	}
	for i := range c.Peers {
		e.applyPeer(&c.Peers[i], peers, now, out)
	}
	e.peers.Store(&peers)
}

// setPrivateKey gives the engine a new identity. Sessions can still receive
// until they end, but we send with none of them any more.
func (e *Engine) setPrivateKey(k key.Private, peers map[key.Public]*Peer, now Time, out *Output) {
	old := e.identity.Load()
	var id *handshake.Identity
	if !k.IsZero() {
		id = handshake.NewIdentity(k)
	}
	if old != nil && id != nil && old.Public() == id.Public() || old == nil && id == nil {
		return
	}
	if id != nil {
		if own := peers[id.Public()]; own != nil {
			e.removePeer(peers, own)
		}
	}
	e.identity.Store(id)
	for _, p := range peers {
		p.lock.Lock()
		p.changeIdentity(id, now, out)
		p.unlock(out)
	}
}

// changeIdentity follows a change of our static key.
func (p *Peer) changeIdentity(id *handshake.Identity, now Time, out *Output) {
	p.setIdentity(id)
	p.dropInitiations()
	p.signer = handshake.Signer{}
	hadSession := p.current.Load() != nil
	for _, k := range []*Keypair{p.current.Load(), p.next} {
		if k != nil {
			k.retired.Store(true)
		}
	}
	p.notBefore = math.MinInt64
	if id != nil && p.up && (hadSession || len(p.staged) > 0 || p.persistent > 0) {
		p.wantInitiation(now, out, false)
	}
}

// applyPeer makes one peer's change, in the kernel's order.
func (e *Engine) applyPeer(c *PeerChange, peers map[key.Public]*Peer, now Time, out *Output) {
	p := peers[c.PublicKey]
	if c.Remove {
		if p != nil {
			e.removePeer(peers, p)
		}
		return
	}
	if p == nil {
		id := e.identity.Load()
		if c.UpdateOnly || id != nil && id.Public() == c.PublicKey || len(peers) >= maxPeers {
			return
		}
		p = newPeer(e, c.PublicKey)
		peers[c.PublicKey] = p
	}
	e.applyAllowedIPs(p, c)
	p.lock.Lock()
	defer p.unlock(out)
	if c.PresharedKey != nil {
		p.preshared = *c.PresharedKey
	}
	if c.Endpoint != nil {
		p.setEndpoint(*c.Endpoint, now, out)
	}
	startKeepalive := false
	if c.Keepalive != nil {
		startKeepalive = p.persistent == 0 && *c.Keepalive > 0
		p.persistent = *c.Keepalive
		if p.persistent == 0 {
			p.timers.persistent = never
		}
	}
	switch {
	case !e.up:
	case !p.up:
		p.start(now, out)
	case startKeepalive:
		p.sendKeepalive(now, out)
	default:
		p.flushStaged(now, out)
	}
}

// setEndpoint is a configured address. A handshake that had nobody to go to
// starts at once.
func (p *Peer) setEndpoint(to netip.AddrPort, now Time, out *Output) {
	first := p.endpoint.Load() == nil
	if !first && p.endpoint.Load().Addr == to {
		return
	}
	p.endpoint.Store(&Endpoint{Addr: to})
	if first && p.up && p.timers.retransmit != never {
		p.wantInitiation(now, out, true)
	}
}

// TryEndpoint is for an address that a name resolved to. It is taken only by a
// peer that has none or that does not answer the present one: where an
// authenticated message came from always wins. It takes the peer's lock.
func (p *Peer) TryEndpoint(now Time, to netip.AddrPort, out *Output) {
	p.lock.Lock()
	defer p.unlock(out)
	if p.endpoint.Load() == nil || p.timers.retransmit != never {
		p.setEndpoint(to, now, out)
	}
}

// removePeer ends a peer for good.
func (e *Engine) removePeer(peers map[key.Public]*Peer, p *Peer) {
	delete(peers, p.public)
	routes := e.editRoutes(len(p.allowed))
	for prefix := range p.allowed {
		routes.remove(prefix)
	}
	e.storeRoutes(routes)
	clear(p.allowed)
	p.lock.Lock()
	p.stop()
	p.preshared.Wipe()
	p.lock.Unlock()
}

// applyAllowedIPs changes who owns which prefix.
func (e *Engine) applyAllowedIPs(p *Peer, c *PeerChange) {
	changes := len(c.AllowedIPs) + len(c.RemoveAllowedIPs)
	if c.ReplaceAllowedIPs {
		changes += len(p.allowed)
	}
	routes := e.editRoutes(changes)
	take := func(prefix netip.Prefix) {
		if owner, ok := routes.table.Get(prefix); ok {
			delete(owner.allowed, prefix)
			routes.remove(prefix)
		}
	}
	if c.ReplaceAllowedIPs {
		for prefix := range p.allowed {
			routes.remove(prefix)
		}
		clear(p.allowed)
	}
	for _, prefix := range c.RemoveAllowedIPs {
		if _, has := p.allowed[prefix.Masked()]; has {
			take(prefix.Masked())
		}
	}
	for _, prefix := range c.AllowedIPs {
		if prefix = prefix.Masked(); !prefix.IsValid() {
			continue // the table would ignore it, and the list must not differ
		}
		take(prefix)
		routes.insert(prefix, p)
		p.allowed[prefix] = struct{}{}
	}
	e.storeRoutes(routes)
}
