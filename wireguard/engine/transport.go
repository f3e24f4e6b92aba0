package engine

import (
	"time"

	"github.com/wimble-proxy/wimble/wireguard/message"
)

// Find returns the session with this receiver index, or nil, which is counted.
// It takes no lock.
func (e *Engine) Find(index uint32) *Keypair {
	k := e.indices.find(index).keypair
	if k == nil {
		e.Drop(DropFind)
	}
	return k
}

// SendKey returns the session to send with, or nil when a handshake is needed
// first: then Stage. It takes no lock.
func (p *Peer) SendKey(now time.Duration) *Keypair {
	if k := p.current.Load(); k != nil && k.sendable(now) {
		return k
	}
	return nil
}

// Sent tells the timers that n messages of size bytes in all were sealed with
// k and sent. It takes the peer's lock.
func (p *Peer) Sent(now Time, k *Keypair, size int, out *Output) {
	p.sent.Add(uint64(size))
	p.lock.Lock()
	defer p.unlock(out)
	if !p.up {
		return
	}
	p.dataSent(now)
	p.authSent(now)
	p.rekeyAfterSending(now, k, out)
}

// rekeyAfterSending asks for a new session when k is old or much used. Only
// its initiator goes by the age, so that not both sides do (Whitepaper, 6.2).
func (p *Peer) rekeyAfterSending(now Time, k *Keypair, out *Output) {
	if k != p.current.Load() {
		return // there is a newer one already
	}
	if k.counter.Load() > RekeyAfterMessages || k.initiator && now.Boot-k.birth >= RekeyAfterTime {
		p.wantInitiation(now, out, false)
	}
}

// rekeyAfterReceiving asks, once per session, for a new one while there is
// just enough time left for it: who only receives would never do so otherwise.
func (p *Peer) rekeyAfterReceiving(now Time, out *Output) {
	k := p.current.Load()
	if k == nil || !k.initiator || p.timers.lastMinuteSent || !k.sendable(now.Boot) ||
		now.Boot-k.birth < RejectAfterTime-KeepaliveTimeout-RekeyTimeout {
		return
	}
	p.timers.lastMinuteSent = true
	p.wantInitiation(now, out, false)
}

// Commit takes a run of messages that k opened, in the order of their arrival:
// it marks their counters, follows the endpoint, confirms the session and
// tells the timers. The Packet of what is a replay becomes nil; keepalives are
// left empty. It takes the peer's lock once.
func (k *Keypair) Commit(now Time, from Endpoint, run []Opened, out *Output) {
	p := k.peer
	p.lock.Lock()
	defer p.unlock(out)
	if !p.holds(k) {
		k.reject(run, DropRemoved)
		return
	}
	fresh, data := false, false
	for i := range run {
		if !k.received.accept(run[i].Counter) {
			k.reject(run[i:i+1], DropCommit)
			continue
		}
		fresh = true
		if len(run[i].Packet) == 0 {
			p.received.Add(message.DataMinSize)
		} else {
			data = true
		}
	}
	if !fresh {
		return
	}
	p.moveEndpoint(from, out)
	if p.confirm(k) {
		p.handshakeComplete(now, out)
		p.flushStaged(now, out)
	}
	p.rekeyAfterReceiving(now, out)
	p.authReceived(now)
	if data {
		p.dataReceived(now)
	}
}

// reject drops a whole run.
func (k *Keypair) reject(run []Opened, why Drop) {
	for i := range run {
		run[i].Packet = nil
		k.peer.engine.Drop(why)
	}
}
