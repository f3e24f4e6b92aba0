package engine

import (
	"errors"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// initiation is one that we sent and that may still be answered.
type initiation struct {
	index    uint32
	sent     time.Duration
	identity *handshake.Identity
	state    *handshake.Initiator
}

// answerable is how long a response is waited for: until the second
// retransmission after the initiation.
const answerable = 2 * (RekeyTimeout + maxJitter)

// initiationAllowedAt is the earliest time for the next initiation.
func (p *Peer) initiationAllowedAt() time.Duration { return p.notBefore }

// handshakeSent starts the time in which no initiation of ours may leave. A
// response counts too.
func (p *Peer) handshakeSent(now Time) { p.notBefore = now.Boot + RekeyTimeout }

// wantInitiation asks for an initiation if one may leave. A retransmission
// keeps the count of attempts, anything else starts it again.
func (p *Peer) wantInitiation(now Time, out *Output, retransmission bool) {
	if !retransmission {
		p.timers.attempts = 0
	}
	if !p.up || p.wanted || now.Boot < p.initiationAllowedAt() {
		return
	}
	p.wanted = true
	out.Initiate = append(out.Initiate, p)
}

// Initiate makes the initiation that Output.Initiate asked for. It takes the
// peer's lock, but not over its two Diffie-Hellman computations.
func (p *Peer) Initiate(now Time, out *Output) {
	in, remote, stamp, ephemeral, ok := p.prepareInitiation(now, out)
	if !ok {
		return
	}
	state, msg, err := handshake.Initiate(in.identity, remote, in.index, stamp, ephemeral)
	ephemeral.Wipe()

	p.lock.Lock()
	defer p.unlock(out)
	if err != nil || p.remote != remote || !p.up {
		p.engine.indices.remove(in.index)
		p.engine.Drop(reason(err))
		return
	}
	if now.Boot < p.initiationAllowedAt() {
		p.engine.indices.remove(in.index) // we answered theirs meanwhile
		return
	}
	in.state = state
	p.replaceInitiation(in)
	b := out.buffer(message.InitiationSize)
	msg.Put(b)
	p.signer.Sign(now.Boot, remote, b)
	p.handshakeSent(now)
	p.timers.retransmit = now.Boot + RekeyTimeout + p.engine.jitter()
	p.authSent(now)
	p.send(b, out)
	out.Datagrams[len(out.Datagrams)-1].Initiator = p
	p.unanswered++
	out.Events = append(out.Events, Event{Kind: EventInitiation, Peer: p, Attempt: p.unanswered})
}

// prepareInitiation takes what an initiation is made of.
func (p *Peer) prepareInitiation(now Time, out *Output) (
	in *initiation, remote *handshake.Remote, stamp handshake.Timestamp, ephemeral key.Private, ok bool,
) {
	p.lock.Lock()
	defer p.unlock(out)
	if !p.wanted {
		return
	}
	p.wanted = false
	id := p.engine.identity.Load()
	if id == nil || p.remote == nil || now.Boot < p.initiationAllowedAt() {
		return
	}
	if p.endpoint.Load() == nil {
		// Nobody to send to yet: the timers go on as if it had been lost.
		p.timers.retransmit = now.Boot + RekeyTimeout + p.engine.jitter()
		p.traversal(now)
		p.engine.Drop(DropEndpoint)
		return
	}
	ephemeral, err := p.engine.ephemeral()
	if err != nil {
		p.engine.Drop(DropRandom)
		return
	}
	in = &initiation{sent: now.Boot, identity: id}
	if in.index, ok = p.engine.indices.add(indexEntry{peer: p, pending: in}, p.engine.random32); !ok {
		p.engine.Drop(DropRandom)
		return
	}
	stamp = handshake.TimestampAt(now.Wall)
	if !stamp.After(p.lastStamp) {
		stamp = p.lastStamp.Next()
	}
	p.lastStamp = stamp
	return in, p.remote, stamp, ephemeral, true
}

// reason is the drop that a handshake's error is counted as.
func reason(err error) Drop {
	switch {
	case err == nil:
		return DropRemoved
	case errors.Is(err, key.ErrLowOrder):
		return DropLowOrder
	}
	return DropInvalid
}

// replaceInitiation makes in the newest and keeps the one before it.
func (p *Peer) replaceInitiation(in *initiation) {
	p.dropInitiation(p.late)
	p.late, p.pending = p.pending, in
}

// dropInitiations forgets every initiation of ours.
func (p *Peer) dropInitiations() {
	p.dropInitiation(p.late)
	p.dropInitiation(p.pending)
	p.late, p.pending = nil, nil
}

func (p *Peer) dropInitiation(in *initiation) {
	if in == nil {
		return
	}
	p.engine.indices.remove(in.index)
	in.state.Wipe()
}

// acceptResponse completes a handshake that we began (Whitepaper, 5.4.3). It
// takes the peer's lock, but not over its two Diffie-Hellman computations.
func (e *Engine) acceptResponse(now Time, from Endpoint, msg []byte, out *Output) {
	m, ok := message.ParseResponse(msg)
	entry := e.indices.find(m.Receiver)
	in := entry.pending
	if !ok || in == nil {
		e.Drop(DropState)
		return
	}
	p := entry.peer
	p.lock.Lock()
	preshared, waiting := p.preshared, p.awaits(in, now)
	var state handshake.Initiator
	if waiting {
		state = *in.state // Finish needs no lock then, even if in is dropped meanwhile
	}
	p.lock.Unlock()
	if !waiting {
		e.Drop(DropState)
		return
	}
	keys, err := state.Finish(in.identity, &preshared, &m)
	state.Wipe()
	preshared.Wipe()
	if err != nil {
		e.Drop(reason(err))
		return
	}

	p.lock.Lock()
	defer p.unlock(out)
	if !p.awaits(in, now) {
		keys.Wipe()
		e.Drop(DropState)
		return
	}
	p.received.Add(message.ResponseSize)
	late := in == p.late
	p.finishInitiation(in)
	k := newKeypair(p, &keys, in.index, m.Sender, true, now.Boot)
	e.indices.set(in.index, indexEntry{peer: p, keypair: k})
	if late {
		p.beginLate(k)
	} else {
		p.beginAsInitiator(k)
	}
	p.moveEndpoint(from, out)
	p.authReceived(now)
	p.handshakeComplete(now, out)
	p.sessionDerived(now)
	if late && p.pending != nil {
		// They may have given this session up for that of the newest, which is
		// not there before its response is.
		p.timers.retransmit = p.pending.sent + answerable
	}
	// The responder may not send before it has heard from us under the new key.
	p.sendKeepalive(now, out)
}

// awaits reports whether in may still be answered.
func (p *Peer) awaits(in *initiation, now Time) bool {
	return in.state != nil && (in == p.pending || in == p.late) && now.Boot-in.sent <= answerable
}

// finishInitiation takes in out of those that wait, and what is older. A newer
// one stays: the peer may have answered it already, and then uses that session.
func (p *Peer) finishInitiation(in *initiation) {
	if in == p.pending {
		p.dropInitiation(p.late)
		p.pending = nil
	}
	p.late = nil
	in.state.Wipe()
}
