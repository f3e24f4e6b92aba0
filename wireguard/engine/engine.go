// Package engine is the WireGuard protocol of one interface with many peers:
// sessions, key slots, timers, staged packets, receiver indices, AllowedIPs
// and what is let in under load. It is pure: no socket, no goroutine, no clock
// and no package state. Time comes in as an argument, randomness from the one
// reader of Config, and out come datagrams, packets, events and the next
// deadline, so that a test runs a thousand hours of it in a minute.
//
// Start at Engine. What arrives goes through
//
//	Admit -> Handshake                         (initiation, response)
//	Find -> Keypair.Open -> Commit -> Police   (data)
//
// and what leaves through
//
//	Route -> SendKey -> Keypair.Seal -> Sent   (with a session)
//	Route -> Stage                             (without one)
//
// Peer.Initiate does what Output.Initiate asks for, Peer.Advance runs the
// timers that are due. Each of these says what it locks.
//
// # Locks
//
// A Keypair's keys never change: Seal and Open need no lock. The receiver
// index table and AllowedIPs are copied on write and read through atomic
// pointers. Everything else of a peer is guarded by the peer's lock, which the
// methods take themselves; none is held over a Diffie-Hellman computation.
// Config.NewLock supplies the locks. Apply, Up, Down and Suspend must not run
// at the same time as each other; everything else may.
//
// # Where it differs from the kernel, and why
//
//   - Timestamps of our initiations rise within a process even when the wall
//     clock steps back, so that a peer does not refuse us after an NTP step.
//   - One older initiation stays answerable for one more Rekey-Timeout, so that
//     a path with a round trip of 5 to 10 s connects.
//   - A retransmission that comes too early for Rekey-Timeout is put off, not
//     lost: the kernel lets the timer die.
//   - When two initiations cross, the one from the smaller public key can still
//     be answered. The kernel ends both and begins again 5 s later, to cross
//     once more where the path's delay is larger than the jitter.
//   - A peer without an endpoint keeps its timers, but sends no initiation and
//     uses up no Rekey-Timeout: the first one leaves when an endpoint is set.
//   - A sticky source is an address alone. The kernel remembers the interface
//     as well, and has to forget both when a route changes.
//   - A response that nothing waits for is refused before the backlog, and a
//     cookie reply never enters it: neither can crowd out initiations.
//   - A persistent keepalive with an interval below Rekey-Timeout is armed again
//     even when no initiation may leave yet.
//   - ECN is not carried between inner and outer header, and DSCP is not set.
//   - ICMP for packets without a peer or an endpoint is left to the caller,
//     which gets an error instead.
package engine

import (
	"encoding/binary"
	"io"
	"math"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"

	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// The protocol's constants (Whitepaper, 6.1; the names are its own).
const (
	RekeyAfterMessages  = 1 << 60
	RejectAfterMessages = 1<<64 - 1<<13 - 1
	RekeyAfterTime      = 120 * time.Second
	RejectAfterTime     = 180 * time.Second
	RekeyTimeout        = 5 * time.Second
	KeepaliveTimeout    = 10 * time.Second
)

const (
	maxJitter      = 333 * time.Millisecond // added to a retransmission and to a dead-peer handshake
	maxRetransmits = 18                     // Rekey-Attempt-Time / Rekey-Timeout; 20 initiations leave in all
	floodInterval  = 20 * time.Millisecond  // a peer's initiations closer than this are dropped
	zeroKeysAfter  = 3 * RejectAfterTime    // without a new session, every key is wiped
	maxStaged      = 128                    // packets that wait for a session, per peer
	// maxPeers bounds what one configuration may hold, as the kernel does.
	maxPeers = 1 << 20
)

// Time is one instant on two clocks.
type Time struct {
	// Boot is the time since some fixed point. It counts suspend and never
	// steps back; every timer and age is measured by it.
	Boot time.Duration
	// Wall is used for the timestamp of initiations and for reporting.
	Wall time.Time
}

// Endpoint is the far side of a datagram as one UDP socket sees it.
type Endpoint struct {
	// Addr is the address and port of the peer.
	Addr netip.AddrPort
	// Source is the local address that the last authenticated datagram came
	// in on, and so the one to answer from (a "sticky" source). Not valid
	// means that the system chooses.
	Source netip.Addr
}

// Locker is what guards one peer: sync.Mutex has this shape.
type Locker interface {
	Lock()
	Unlock()
}

// Config is what an Engine is made with.
type Config struct {
	// Rand is the source of keys, indices and jitter. It must be safe for use
	// by the goroutines that use the Engine.
	Rand io.Reader
	// MTU is the tunnel's: padding never goes beyond it. 0 means no bound.
	MTU int
	// NewLock makes the lock of one peer. Nil is for a single goroutine.
	NewLock func() Locker
}

// Engine is one WireGuard interface: an identity and its peers.
type Engine struct {
	rand    io.Reader
	mtu     int
	newLock func() Locker

	identity  atomic.Pointer[handshake.Identity] // nil without a private key
	peers     atomic.Pointer[map[key.Public]*Peer]
	routes    atomic.Pointer[bart.Table[*Peer]]
	indices   indexTable
	admission admission
	heard     atomic.Int64 // nanoseconds on the boot clock
	drops     [dropReasons]atomic.Uint64

	up bool // guarded by the rule that Apply, Up, Down and Suspend run alone
}

// New returns an Engine without a key, without peers, and down.
func New(c Config) *Engine {
	e := &Engine{rand: c.Rand, mtu: c.MTU, newLock: c.NewLock}
	if e.newLock == nil {
		e.newLock = func() Locker { return unlocked{} }
	}
	e.admission.lock = e.newLock()
	e.heard.Store(math.MinInt64)
	e.peers.Store(&map[key.Public]*Peer{})
	e.routes.Store(new(bart.Table[*Peer]))
	return e
}

type unlocked struct{}

func (unlocked) Lock()   {}
func (unlocked) Unlock() {}

// Peer returns the peer with this public key, or nil.
func (e *Engine) Peer(k key.Public) *Peer { return (*e.peers.Load())[k] }

// Route returns the peer whose AllowedIPs hold dst by longest prefix, or nil,
// which is counted. It takes no lock.
func (e *Engine) Route(dst netip.Addr) *Peer {
	p, ok := e.routes.Load().Lookup(dst)
	if !ok {
		e.Drop(DropRoute)
		return nil
	}
	return p
}

// LastHeard is when any peer last sent an authenticated message, on the boot
// clock. It takes no lock.
func (e *Engine) LastHeard() time.Duration { return time.Duration(e.heard.Load()) }

// ForgetSources lets the system choose every local address again, as after a
// change of the sockets. It locks each peer in turn.
func (e *Engine) ForgetSources() {
	for _, p := range *e.peers.Load() {
		p.lock.Lock()
		p.forgetSource()
		p.lock.Unlock()
	}
}

// Up starts the engine: what is staged leaves, and peers with a persistent
// keepalive are greeted. It locks each peer in turn.
func (e *Engine) Up(now Time, out *Output) {
	e.up = true
	for _, p := range *e.peers.Load() {
		p.lock.Lock()
		p.start(now, out)
		p.unlock(out)
	}
}

// Down stops it: every session, handshake, timer and staged packet goes; what
// was configured, and the newest timestamp of each peer, stay.
func (e *Engine) Down() {
	e.up = false
	for _, p := range *e.peers.Load() {
		p.lock.Lock()
		p.stop()
		p.lock.Unlock()
	}
}

// Suspend is for a machine that was asleep: sessions go, since the time they
// slept through is not to be trusted, and a handshake is due at once with each
// peer that has a keepalive or had a session. It locks each peer in turn.
func (e *Engine) Suspend(now Time, out *Output) {
	for _, p := range *e.peers.Load() {
		p.lock.Lock()
		p.resume(now, out)
		p.unlock(out)
	}
}

// random32 draws 32 uniform bits.
func (e *Engine) random32() (uint32, error) {
	var b [4]byte
	_, err := io.ReadFull(e.rand, b[:])
	return binary.LittleEndian.Uint32(b[:]), err
}

// jitter is uniform in 0 to 333 ms. A reader that has failed gives none: the
// timers must go on, and the next handshake reports the failure.
func (e *Engine) jitter() time.Duration {
	r, _ := e.random32()
	return time.Duration(r) % (maxJitter + 1)
}

// ephemeral draws the key pair of one handshake.
func (e *Engine) ephemeral() (key.Private, error) { return key.NewPrivate(e.rand) }
