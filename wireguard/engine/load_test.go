package engine

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// caller is somebody at an address who knows a's key and sends b handshake
// messages. It keeps the cookie that it gets.
type caller struct {
	a, b   *node
	from   netip.AddrPort
	remote *handshake.Remote
	signer handshake.Signer
	stamps byte
}

func (n *node) callerAt(m *node, from string) *caller {
	return &caller{
		a: n, b: m, from: netip.MustParseAddrPort(from),
		remote: handshake.NewRemote(handshake.NewIdentity(n.key), m.key.Public()),
	}
}

// initiation is a new one, with a mac2 if there is a cookie.
func (c *caller) initiation() []byte {
	c.stamps++
	msg := c.a.forge(c.b, tail(1, c.stamps))
	c.signer.Sign(c.a.now, c.remote, msg)
	return msg
}

// admit has b decide about msg, and returns the reason if it refuses and what
// it answers. A cookie reply is neither admitted nor refused.
func (c *caller) admit(msg []byte, waiting int) (why Drop, answer []byte) {
	c.b.Helper()
	var out Output
	before := c.b.engine.Drops()
	ok := c.b.engine.Admit(c.b.time(), Endpoint{Addr: c.from}, msg, Backlog{Waiting: waiting, Limit: 1024}, &out)
	for i, n := range c.b.engine.Drops() {
		if n != before[i] {
			why = Drop(i)
		}
	}
	if ok != (why == DropNone && kind(msg) != "cookie reply") {
		c.b.Errorf("admitted %t, and counted as %v", ok, why)
	}
	if len(out.Initiate)+len(out.Rearm)+len(out.Events) > 0 || len(out.Datagrams) > 1 {
		c.b.Errorf("a decision led to %+v", out)
	}
	if len(out.Datagrams) > 0 {
		if got := out.Datagrams[0].To; got != (Endpoint{Addr: c.from}) {
			c.b.Errorf("answered to %v instead of %v", got, c.from)
		}
		answer = out.Datagrams[0].Bytes
	}
	return why, answer
}

// ask gets a cookie.
func (c *caller) ask() {
	c.b.Helper()
	msg := c.initiation()
	why, answer := c.admit(clone(msg), 128)
	reply, ok := message.ParseCookieReply(answer)
	if why != DropCookie || !ok {
		c.b.Fatalf("%v and %x instead of a cookie", why, answer)
	}
	if first, _ := message.ParseInitiation(msg); reply.Receiver != first.Sender {
		c.b.Errorf("a cookie reply for index %d, not the sender's %d", reply.Receiver, first.Sender)
	}
	if !c.signer.Accept(c.a.now, c.remote, &reply) {
		c.b.Fatal("a cookie reply that its receiver can't open")
	}
}

func (c *caller) expect(reason string, msg []byte, waiting int, want Drop) {
	c.b.Helper()
	if why, _ := c.admit(clone(msg), waiting); why != want {
		c.b.Errorf("at %v: %s: %v instead of %v", c.b.now, reason, why, want)
	}
}

// TestLoadHysteresis: load is an eighth of the backlog, and lasts for exactly a
// second after it was last seen. What arrives meanwhile does not prolong it.
func TestLoadHysteresis(t *testing.T) {
	for _, limit := range []int{8, 1000, 1024, 4096} {
		var a admission
		start := limit / 8
		for _, step := range []struct {
			at      time.Duration
			waiting int
			want    bool
		}{
			{0, start - 1, false},
			{0, start, true},
			{0, 0, true},
			{time.Second - 1, start - 1, true},
			{time.Second, start - 1, false},
			{time.Second, 0, false},
			{10 * time.Second, limit, true},
			{10*time.Second + 600*time.Millisecond, start, true}, // seen again
			{11*time.Second + 600*time.Millisecond - 1, 0, true},
			{11*time.Second + 600*time.Millisecond, 0, false},
		} {
			if got := a.underLoad(step.at, Backlog{Waiting: step.waiting, Limit: limit}); got != step.want {
				t.Errorf("%d of %d at %v: under load %t", step.waiting, limit, step.at, got)
			}
		}
	}
	for limit := range loadFraction {
		if !new(admission).underLoad(0, Backlog{Limit: limit}) {
			t.Errorf("a backlog of %d has no eighth, and is not always under load", limit)
		}
	}
}

// TestCalm: without load nobody looks at mac2, and no rate holds.
func TestCalm(t *testing.T) {
	_, a, b := pair(t, 1)
	c := a.callerAt(b, "192.0.2.9:1000")
	for i := range 100 {
		msg := c.initiation()
		msg[message.InitiationSize-1-i%message.MACSize] ^= byte(i)
		c.expect("whatever its mac2", msg, 127, DropNone)
	}
	if got := len(b.engine.admission.limiter.sources); got != 0 {
		t.Errorf("the limiter knows %d sources", got)
	}
}

// TestCookieRetry: a cookie lets in from the address and port that it was given
// to, for as long as its secret lives.
func TestCookieRetry(t *testing.T) {
	l, a, b := pair(t, 1)
	c := a.callerAt(b, "192.0.2.9:1000")
	c.ask()
	c.expect("with the cookie", c.initiation(), 128, DropNone)
	c.expect("its mac2 is of another message", flip(c.initiation(), message.InitiationSize-1), 128, DropCookie)
	for _, other := range []string{"192.0.2.9:1001", "192.0.2.8:1000", "[::ffff:192.0.2.8]:1000", "[2001:db8::1]:1000"} {
		stolen := *c
		stolen.from = netip.MustParseAddrPort(other)
		stolen.expect("from "+other, c.initiation(), 128, DropCookie)
	}
	mapped := *c
	mapped.from = netip.MustParseAddrPort("[::ffff:192.0.2.9]:1000")
	mapped.expect("the same address in its other form", c.initiation(), 128, DropNone)

	l.run(115*time.Second - 1)
	c.expect("for 115 s", c.initiation(), 128, DropNone)
	l.run(115 * time.Second)
	c.expect("the sender's time is over first", c.initiation(), 128, DropCookie)
	c.ask()
	l.run(120 * time.Second)
	c.expect("a younger cookie, but the secret is 120 s old", c.initiation(), 128, DropCookie)
}

// TestLimiterUnderLoad: a cookie shows an address, which still has no more than
// 5 messages at once and one in 50 ms. The addresses of a /64 are one.
func TestLimiterUnderLoad(t *testing.T) {
	l, a, b := pair(t, 1)
	first, next := a.callerAt(b, "[2001:db8::1]:1000"), a.callerAt(b, "[2001:db8::2]:2000")
	other := a.callerAt(b, "[2001:db8:0:1::1]:1000")
	for _, c := range []*caller{first, next, other} {
		c.ask() // which costs no token
	}
	for range 3 {
		first.expect("five at once", first.initiation(), 128, DropNone)
	}
	for range 2 {
		next.expect("of the same /64", next.initiation(), 128, DropNone)
	}
	first.expect("a sixth", first.initiation(), 128, DropRate)
	next.expect("a sixth", next.initiation(), 128, DropRate)
	other.expect("of another /64", other.initiation(), 128, DropNone)
	l.run(50*time.Millisecond - 1)
	next.expect("too early", next.initiation(), 128, DropRate)
	l.run(50 * time.Millisecond)
	next.expect("after 50 ms", next.initiation(), 128, DropNone)
	next.expect("one only", next.initiation(), 128, DropRate)
	if why, answer := next.admit(next.initiation(), 128); why != DropRate || answer != nil {
		t.Errorf("%v with an answer of %d bytes: what is limited gets silence", why, len(answer))
	}
}

// TestBacklogFull: what waits in the backlog costs a Diffie-Hellman computation
// in the end, so what needs none is dealt with before it.
func TestBacklogFull(t *testing.T) {
	l, a, b := pair(t, 1)
	l.hold()
	b.send(a) // which then waits for a response
	c := a.callerAt(b, a.addr.String())
	c.expect("without a cookie", c.initiation(), 1024, DropCookie)
	c.ask()
	c.expect("with a cookie, but no room", c.initiation(), 1024, DropBacklog)
	c.expect("with a cookie, in the last place", c.initiation(), 1023, DropNone)
	c.expect("a wrong mac1", flip(c.initiation(), 50), 1024, DropMAC1)
	c.expect("junk", []byte{1, 0, 0, 0}, 1024, DropClassify)
	c.expect("a response that nothing waits for", b.responseTo(b), 1024, DropState)

	l.pass(b, "initiation")
	response := l.take(a, "response").msg
	c.expect("the response that is waited for", response, 1023, DropCookie)
	c.expect("the same without load, in a full backlog", response, 1024, DropCookie)
	c.signer.Sign(l.now, c.remote, response)
	c.expect("the same with a cookie", response, 1024, DropBacklog)
	c.expect("the same with a cookie, in the last place", response, 1023, DropNone)
}

// TestCookieReplyInAFullBacklog: it is dealt with at once, and all that it
// changes is the mac2 of the next message.
func TestCookieReplyInAFullBacklog(t *testing.T) {
	l, a, b := steady(t, 0)
	l.hold()
	b.backlog.Waiting = 1024
	a.send(b)
	endpoint, timers := b.peer(a).endpoint.Load(), b.peer(a).timers
	l.pass(a, "initiation")
	if p := b.peer(a); p.endpoint.Load() != endpoint || p.timers != timers || p.received.Load() != 0 || p.sent.Load() != 0 {
		t.Error("asking for a cookie changed something")
	}

	reply := l.take(b, "cookie reply")
	p := a.peer(b)
	endpoint, timers, sent := p.endpoint.Load(), p.timers, p.sent.Load()
	c := b.callerAt(a, "203.0.113.66:6666") // from anywhere
	c.expect("a cookie reply", reply.msg, 1024, DropNone)
	c.expect("the same once more", reply.msg, 1024, DropInvalid)
	if p.endpoint.Load() != endpoint || p.timers != timers || p.received.Load() != 0 || p.sent.Load() != sent || p.notBefore != RekeyTimeout {
		t.Error("a cookie reply changed something")
	}

	b.backlog.Waiting = 1023
	l.run(RekeyTimeout)
	a.expect("nothing before it is due", "0s initiation", "5s initiation")
	l.pass(a, "initiation")
	b.expect("it carries the cookie", "0s cookie reply", "5s response")
}

// TestResponseUnderLoad: an initiator under load wants a cookie for a response
// too. The responder keeps it for its answer to the next initiation.
func TestResponseUnderLoad(t *testing.T) {
	l, a, b := steady(t, 0)
	a.backlog.Waiting = 128
	a.send(b)
	l.run(RekeyTimeout)
	a.expect("a cookie for the response", "0s initiation", "0s cookie reply", "5s initiation", "5s data")
	b.expect("a response with it", "0s response", "5s response")
	a.expectDrops(DropCookie, 1)
	b.expectDelivered(a, 1)
	if response := b.last("response"); bytes.Equal(response[message.ResponseSize-message.MACSize:], make([]byte, message.MACSize)) {
		t.Error("a response without mac2")
	}
}

// TestBothUnderLoad: each wants a cookie of the other, which takes three
// initiations.
func TestBothUnderLoad(t *testing.T) {
	l, a, b := steady(t, 0)
	a.backlog.Waiting, b.backlog.Waiting = 1023, 1023
	a.send(b)
	l.run(2 * RekeyTimeout)
	a.expect("an initiation for each cookie", "0s initiation", "5s initiation", "5s cookie reply", "10s initiation", "10s data")
	b.expect("a cookie first", "0s cookie reply", "5s response", "10s response")
	b.expectDelivered(a, 1)
}
