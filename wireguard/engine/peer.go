package engine

import (
	"bytes"
	"math"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// Peer is one peer of an Engine. Peers are made and removed by Apply; a
// removed one drops whatever it is given.
type Peer struct {
	engine *Engine
	public key.Public
	lock   Locker

	// Written under lock, read by anybody.
	current       atomic.Pointer[Keypair] // what we send with, nil for none
	endpoint      atomic.Pointer[Endpoint]
	deadline      atomic.Int64 // nanoseconds on the boot clock
	lastHandshake atomic.Int64 // wall clock, Unix nanoseconds, 0 for never
	sent          atomic.Uint64
	received      atomic.Uint64

	// Guarded by lock.
	remote         *handshake.Remote // nil while the engine has no identity
	yields         bool              // of two initiations that cross, ours ends
	preshared      key.Preshared
	persistent     time.Duration // 0 for none
	signer         handshake.Signer
	previous, next *Keypair
	pending        *initiation         // our newest initiation, not yet answered
	late           *initiation         // the one before it, still answerable
	wanted         bool                // an initiation was asked for and not yet made
	unanswered     int                 // initiations since the peer was last heard
	lastStamp      handshake.Timestamp // of our own initiations
	newestStamp    handshake.Timestamp // of the peer's; lives as long as the Peer does
	refusedOld     bool                // EventOldTimestamp was told
	lastAccepted   time.Duration       // when the peer's last initiation was accepted
	notBefore      time.Duration       // no initiation of ours leaves earlier
	patience       time.Duration       // the dead-peer timer's jitter, drawn once for each expiry; 0 when not drawn
	timers         timers
	announced      time.Duration // the deadline that the caller knows of
	staged         stagedQueue
	up             bool

	allowed map[netip.Prefix]struct{} // guarded by the rule that Apply runs alone
}

func newPeer(e *Engine, k key.Public) *Peer {
	p := &Peer{
		engine: e, public: k, lock: e.newLock(),
		lastAccepted: -floodInterval, notBefore: math.MinInt64,
		announced: never,
		allowed:   map[netip.Prefix]struct{}{},
	}
	p.timers.disarm()
	p.deadline.Store(int64(never))
	p.setIdentity(e.identity.Load())
	return p
}

// Public is the peer's static public key, which names it.
func (p *Peer) Public() key.Public { return p.public }

// Endpoint is where the peer was last heard, or was configured to be, and
// false while that is unknown. It takes no lock.
func (p *Peer) Endpoint() (Endpoint, bool) {
	e := p.endpoint.Load()
	if e == nil {
		return Endpoint{}, false
	}
	return *e, true
}

// unlock publishes the next deadline, says so if it moved earlier than the
// caller knows, and releases the lock.
func (p *Peer) unlock(out *Output) {
	next := p.timers.next()
	p.deadline.Store(int64(next))
	if next < p.announced {
		p.announced = next
		out.Rearm = append(out.Rearm, p)
	}
	p.lock.Unlock()
}

// start is the interface going up.
func (p *Peer) start(now Time, out *Output) {
	p.up = true
	if p.persistent > 0 {
		p.sendKeepalive(now, out)
	}
	p.flushStaged(now, out)
}

// stop is the interface going down, or the peer's end.
func (p *Peer) stop() {
	p.up, p.wanted, p.unanswered = false, false, 0
	p.dropStaged()
	p.dropInitiations()
	p.dropKeypairs()
	p.timers.disarm()
	p.deadline.Store(int64(never))
	p.announced = never
	p.notBefore = math.MinInt64
}

// resume is the machine waking from sleep.
func (p *Peer) resume(now Time, out *Output) {
	hadSession := p.current.Load() != nil
	p.dropInitiations()
	p.dropKeypairs()
	p.timers.disarm()
	p.forgetSource()
	if !p.up || !hadSession && p.persistent == 0 && len(p.staged) == 0 {
		return
	}
	p.wantInitiation(now, out, false)
	if !p.wanted {
		p.timers.retransmit = p.initiationAllowedAt() // the last left just before
	}
}

// setIdentity makes what one identity of ours and this peer share. It costs a
// Diffie-Hellman computation.
func (p *Peer) setIdentity(id *handshake.Identity) {
	p.remote = nil
	if id != nil {
		p.remote = handshake.NewRemote(id, p.public)
		ours, theirs := id.Public().Bytes(), p.public.Bytes()
		p.yields = bytes.Compare(ours[:], theirs[:]) > 0
	}
}

// moveEndpoint follows the peer to where an authenticated message came from
// (Whitepaper, 2.1).
func (p *Peer) moveEndpoint(from Endpoint, out *Output) {
	old := p.endpoint.Load()
	if old != nil && *old == from {
		return
	}
	moved := from // only a move costs an allocation
	p.endpoint.Store(&moved)
	if old == nil || old.Addr != from.Addr {
		out.Events = append(out.Events, Event{Kind: EventEndpoint, Peer: p})
	}
}

// forgetSource lets the system choose the local address again: the old one may
// be why nothing is answered.
func (p *Peer) forgetSource() {
	if old := p.endpoint.Load(); old != nil && old.Source.IsValid() {
		p.endpoint.Store(&Endpoint{Addr: old.Addr})
	}
}

// send hands one message to the caller for the peer's endpoint.
func (p *Peer) send(msg []byte, out *Output) {
	to := p.endpoint.Load()
	if to == nil {
		p.engine.Drop(DropEndpoint)
		return
	}
	p.sent.Add(uint64(len(msg)))
	out.Datagrams = append(out.Datagrams, Datagram{To: *to, Bytes: msg})
}
