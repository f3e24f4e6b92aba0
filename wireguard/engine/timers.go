package engine

import (
	"math"
	"time"
)

// never is the deadline of a timer that is not pending.
const never = time.Duration(math.MaxInt64)

// timers are one peer's deadlines on the boot clock, never when not pending.
// The names, and the hooks below, are the kernel's.
type timers struct {
	retransmit   time.Duration // an initiation was not answered
	keepalive    time.Duration // data came and nothing went back
	newHandshake time.Duration // data went and nothing came back
	zeroKeys     time.Duration // no new session for long
	persistent   time.Duration // nothing went either way

	attempts       int  // retransmissions of the present handshake
	lastMinuteSent bool // the session's rekey at its end was already asked for
}

func (t *timers) disarm() {
	*t = timers{retransmit: never, keepalive: never, newHandshake: never, zeroKeys: never, persistent: never}
}

func (t *timers) next() time.Duration {
	return min(t.retransmit, t.keepalive, t.newHandshake, t.zeroKeys, t.persistent)
}

// The hooks. All are called with the peer's lock held.

// dataSent: after this long without any answer the peer is taken for dead.
// Later data does not put it off.
func (p *Peer) dataSent(now Time) {
	if p.timers.newHandshake == never {
		if p.patience == 0 {
			p.patience = p.engine.jitter()
		}
		p.timers.newHandshake = now.Boot + KeepaliveTimeout + RekeyTimeout + p.patience
	}
}

// dataReceived: the peer must hear from us within Keepalive-Timeout of the
// first data that we did not answer. The kernel also notes that more came
// meanwhile, but the keepalive it then sends cancels the one that the note
// armed; one keepalive is what both it and wireguard-go send.
func (p *Peer) dataReceived(now Time) {
	if p.timers.keepalive == never {
		p.timers.keepalive = now.Boot + KeepaliveTimeout
	}
}

// authSent: any authenticated message of ours serves as a keepalive.
func (p *Peer) authSent(now Time) {
	p.timers.keepalive = never
	p.traversal(now)
}

// authReceived: any authenticated message of theirs shows that they live.
func (p *Peer) authReceived(now Time) {
	p.timers.newHandshake = never
	p.unanswered = 0
	p.engine.heard.Store(int64(now.Boot))
	p.traversal(now)
}

func (p *Peer) traversal(now Time) {
	if p.persistent > 0 {
		p.timers.persistent = now.Boot + p.persistent
	}
}

// handshakeComplete: the session is confirmed on both sides.
func (p *Peer) handshakeComplete(now Time, out *Output) {
	p.timers.retransmit = never
	p.timers.attempts = 0
	p.timers.lastMinuteSent = false
	p.lastHandshake.Store(now.Wall.UnixNano())
	out.Events = append(out.Events, Event{Kind: EventHandshake, Peer: p})
}

// sessionDerived: this long after the last session nothing is worth keeping.
func (p *Peer) sessionDerived(now Time) {
	p.timers.zeroKeys = now.Boot + zeroKeysAfter
}

// Deadline is when Advance is to be called next, on the boot clock; math.MaxInt64
// for never. It takes no lock.
func (p *Peer) Deadline() time.Duration { return time.Duration(p.deadline.Load()) }

// Advance runs every timer of the peer that is due. It takes the peer's lock.
func (p *Peer) Advance(now Time, out *Output) {
	p.lock.Lock()
	defer p.unlock(out)
	p.announced = never
	t := &p.timers
	if due(&t.retransmit, now) {
		p.retransmit(now, out)
	}
	if due(&t.newHandshake, now) {
		p.patience = 0
		p.forgetSource()
		p.wantInitiation(now, out, false)
	}
	if due(&t.keepalive, now) {
		p.sendKeepalive(now, out)
	}
	if due(&t.persistent, now) && p.persistent > 0 {
		// Armed again at once: an interval below Rekey-Timeout may end when no
		// initiation is allowed yet, and must not be the last.
		p.traversal(now)
		p.sendKeepalive(now, out)
	}
	if due(&t.zeroKeys, now) {
		p.dropInitiations()
		p.dropKeypairs()
		out.Events = append(out.Events, Event{Kind: EventKeysZeroed, Peer: p})
	}
}

// due reports whether a timer has expired, and disarms it if so.
func due(t *time.Duration, now Time) bool {
	if *t == never || now.Boot < *t {
		return false
	}
	*t = never
	return true
}

// retransmit sends the next initiation, or gives up after maxRetransmits.
func (p *Peer) retransmit(now Time, out *Output) {
	t := &p.timers
	if t.attempts > maxRetransmits {
		t.keepalive = never
		p.dropStaged()
		if t.zeroKeys == never {
			t.zeroKeys = now.Boot + zeroKeysAfter
		}
		out.Events = append(out.Events, Event{Kind: EventGaveUp, Peer: p})
		return
	}
	if early := p.initiationAllowedAt(); now.Boot < early {
		t.retransmit = early
		return
	}
	t.attempts++
	p.forgetSource()
	p.wantInitiation(now, out, true)
}
