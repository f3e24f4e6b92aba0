package engine

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

const (
	// loadFraction of the backlog is where load begins.
	loadFraction = 8
	// loadLasts is how long load is assumed after it was last seen.
	loadLasts = time.Second
)

// admission decides which handshake messages are worth a Diffie-Hellman
// computation.
type admission struct {
	loadedUntil atomic.Int64 // nanoseconds on the boot clock

	lock    Locker
	cookies handshake.Cookies // guarded by lock
	limiter limiter           // guarded by lock
}

// Backlog is how many messages wait for Handshake, of how many that may. An
// eighth of it is load, and stays so for a second (Whitepaper, 5.3).
type Backlog struct {
	Waiting, Limit int
}

// underLoad reports whether a sender must first show that it receives what is
// sent to its address.
func (a *admission) underLoad(now time.Duration, b Backlog) bool {
	if b.Waiting >= b.Limit/loadFraction {
		a.loadedUntil.Store(int64(now + loadLasts))
		return true
	}
	return int64(now) < a.loadedUntil.Load()
}

// Admit decides about an initiation, response or cookie reply before anything
// costly is done for it. It reports true for what Handshake is to be called
// with; what it refuses it counts. A cookie reply is dealt with at once, since
// it costs no Diffie-Hellman computation and must not fill the backlog.
func (e *Engine) Admit(now Time, from Endpoint, msg []byte, b Backlog, out *Output) bool {
	id := e.identity.Load()
	switch kind, ok := message.Classify(msg); {
	case !ok || kind == message.TypeData:
		e.Drop(DropClassify)
		return false
	case kind == message.TypeCookieReply:
		e.acceptCookieReply(now, msg)
		return false
	case id == nil || !id.CheckMAC1(msg):
		e.Drop(DropMAC1)
		return false
	case kind == message.TypeResponse && !e.expected(msg):
		e.Drop(DropState)
		return false
	}
	if e.admission.underLoad(now.Boot, b) && !e.admitUnderLoad(now, id, from.Addr, msg, out) {
		return false
	}
	if b.Waiting >= b.Limit {
		e.Drop(DropBacklog)
		return false
	}
	return true
}

// expected reports whether an initiation of ours waits for this response.
func (e *Engine) expected(msg []byte) bool {
	m, ok := message.ParseResponse(msg)
	return ok && e.indices.find(m.Receiver).pending != nil
}

// admitUnderLoad lets in what has a valid mac2, as often as its source may. To
// anything else it gives a cookie, which is smaller than what asked for it
// (Whitepaper, 5.4.7).
func (e *Engine) admitUnderLoad(now Time, id *handshake.Identity, from netip.AddrPort, msg []byte, out *Output) bool {
	a := &e.admission
	a.lock.Lock()
	defer a.lock.Unlock()
	if a.cookies.CheckMAC2(now.Boot, from, msg) {
		if !a.limiter.allow(now.Boot, from.Addr()) {
			e.Drop(DropRate)
			return false
		}
		return true
	}
	reply, err := a.cookies.Reply(now.Boot, id, from, msg, e.rand)
	if err != nil {
		e.Drop(DropRandom)
		return false
	}
	e.Drop(DropCookie)
	b := out.buffer(message.CookieReplySize)
	reply.Put(b)
	out.Datagrams = append(out.Datagrams, Datagram{To: Endpoint{Addr: from}, Bytes: b})
	return false
}

// acceptCookieReply keeps a cookie for the next initiation or response. It
// moves no endpoint, timer or counter, and nothing is sent again for it. It
// takes the peer's lock.
func (e *Engine) acceptCookieReply(now Time, msg []byte) {
	m, ok := message.ParseCookieReply(msg)
	p := e.indices.find(m.Receiver).peer
	if !ok || p == nil {
		e.Drop(DropState)
		return
	}
	p.lock.Lock()
	accepted := p.remote != nil && p.signer.Accept(now.Boot, p.remote, &m)
	p.lock.Unlock()
	if !accepted {
		e.Drop(DropInvalid)
	}
}
