package engine

import (
	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// Handshake handles an initiation or a response that Admit let in.
// It costs up to five Diffie-Hellman computations, for which no lock is held.
func (e *Engine) Handshake(now Time, from Endpoint, msg []byte, out *Output) {
	switch kind, _ := message.Classify(msg); kind {
	case message.TypeInitiation:
		e.acceptInitiation(now, from, msg, out)
	case message.TypeResponse:
		e.acceptResponse(now, from, msg, out)
	default:
		e.Drop(DropClassify)
	}
}

// answer is what one accepted initiation is answered with.
type answer struct {
	remote    *handshake.Remote
	preshared key.Preshared
	ephemeral key.Private
	index     uint32
}

// acceptInitiation answers a peer's initiation (Whitepaper, 5.4.2, 5.4.3).
// Nothing of a peer changes before the message is authenticated.
func (e *Engine) acceptInitiation(now Time, from Endpoint, msg []byte, out *Output) {
	m, ok := message.ParseInitiation(msg)
	id := e.identity.Load()
	if !ok || id == nil {
		e.Drop(DropInvalid)
		return
	}
	r, err := handshake.Receive(id, &m)
	if err != nil {
		e.Drop(reason(err))
		return
	}
	defer r.Wipe()
	p := e.Peer(r.Static())
	if p == nil {
		e.Drop(DropUnknownPeer)
		return
	}
	p.lock.Lock()
	remote := p.remote
	p.lock.Unlock()
	if remote == nil {
		e.Drop(DropState)
		return
	}
	stamp, err := r.Authenticate(remote)
	if err != nil {
		e.Drop(reason(err))
		return
	}
	a, why := p.consume(now, from, stamp, remote, out)
	if why != DropNone {
		e.Drop(why)
		return
	}
	response, keys, err := r.Respond(remote, &a.preshared, a.index, a.ephemeral)
	a.preshared.Wipe()
	a.ephemeral.Wipe()
	p.respond(now, a, m.Sender, &response, &keys, err, out)
}

// consume is the first half of an answer: it accepts the timestamp, once.
func (p *Peer) consume(now Time, from Endpoint, stamp handshake.Timestamp, remote *handshake.Remote, out *Output) (a answer, why Drop) {
	p.lock.Lock()
	defer p.unlock(out)
	switch {
	case !p.up || p.remote != remote:
		return a, DropRemoved
	case !stamp.After(p.newestStamp):
		if !p.refusedOld {
			p.refusedOld = true
			out.Events = append(out.Events, Event{Kind: EventOldTimestamp, Peer: p})
		}
		return a, DropReplay
	case now.Boot < p.lastAccepted+floodInterval:
		return a, DropFlood
	}
	ephemeral, err := p.engine.ephemeral()
	if err != nil {
		return a, DropRandom
	}
	index, ok := p.engine.indices.add(indexEntry{peer: p}, p.engine.random32)
	if !ok {
		return a, DropRandom
	}
	p.newestStamp, p.lastAccepted, p.refusedOld = stamp, now.Boot, false
	p.received.Add(message.InitiationSize)
	p.moveEndpoint(from, out)
	p.authReceived(now)
	p.handshakeSent(now)
	if p.yields {
		// As in the kernel their handshake replaces ours, but on one side only:
		// two that cross would both end, and soon cross again.
		p.dropInitiations()
	}
	return answer{remote: remote, preshared: p.preshared, ephemeral: ephemeral, index: index}, DropNone
}

// respond is the second half: it installs the session and sends the response.
func (p *Peer) respond(now Time, a answer, sender uint32, response *message.Response, keys *handshake.Keys, err error, out *Output) {
	p.lock.Lock()
	defer p.unlock(out)
	if err != nil || !p.up || p.remote != a.remote {
		p.engine.indices.remove(a.index)
		keys.Wipe()
		p.engine.Drop(reason(err))
		return
	}
	k := newKeypair(p, keys, a.index, sender, false, now.Boot)
	p.engine.indices.set(a.index, indexEntry{peer: p, keypair: k})
	p.beginAsResponder(k)
	p.sessionDerived(now)
	b := out.buffer(message.ResponseSize)
	response.Put(b)
	p.signer.Sign(now.Boot, a.remote, b)
	p.authSent(now)
	p.send(b, out)
}
