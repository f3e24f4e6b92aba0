package engine

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

var elsewhere = netip.MustParseAddrPort("[2001:db8::7]:777")

// expectEndpoint compares where n would send to m.
func (n *node) expectEndpoint(m *node, want Endpoint) {
	n.Helper()
	if got, ok := n.peer(m).Endpoint(); !ok || got != want {
		n.Errorf("node %d at %v: the endpoint of node %d is %v, want %v", n.number, n.now, m.number, got, want)
	}
}

// TestEndpointFollows: every kind of authenticated message moves the endpoint,
// also from IPv4 to IPv6.
func TestEndpointFollows(t *testing.T) {
	for _, tt := range []struct {
		name string
		send func(l *lab, a, b *node)
	}{
		{"data", func(_ *lab, a, b *node) { a.send(b) }},
		{"keepalive", func(_ *lab, a, b *node) { a.greet(b) }},
		{"initiation", func(l *lab, a, b *node) {
			l.run(RejectAfterTime)
			a.send(b)
		}},
		{"response", func(l *lab, a, b *node) {
			l.run(RejectAfterTime)
			b.send(a)
			l.run(l.now)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, a, b := met(t, 1)
			a.move(elsewhere)
			tt.send(l, a, b)
			l.run(l.now)
			b.expectEndpoint(a, Endpoint{Addr: elsewhere})
			b.expectEventually("endpoint")
			b.send(a)
			if last := b.sent[len(b.sent)-1]; last.to != elsewhere {
				t.Errorf("the next message went to %v", last.to)
			}
		})
	}
}

// TestEndpointStays: nothing that is not authentic and new moves the endpoint.
func TestEndpointStays(t *testing.T) {
	for _, tt := range []struct {
		name string
		msg  func(l *lab, a, b *node) []byte
		want Drop
	}{
		{"replayed data", func(_ *lab, a, _ *node) []byte { return a.last("data") }, DropCommit},
		{"forged data", func(_ *lab, a, _ *node) []byte {
			msg := a.last("data")
			msg[len(msg)-1] ^= 1
			return msg
		}, DropOpen},
		{"data that is older than the window", func(_ *lab, a, b *node) []byte {
			late := a.sealedWith(b, 2)
			b.receive(Endpoint{Addr: a.addr}, a.sealedWith(b, 3+WindowSize))
			return late
		}, DropCommit},
		{"a replayed initiation", func(l *lab, a, _ *node) []byte {
			l.run(time.Second)
			return a.last("initiation")
		}, DropReplay},
		{"a replayed response", func(l *lab, a, b *node) []byte {
			l.run(RejectAfterTime)
			b.send(a)
			l.run(l.now)
			return a.last("response")
		}, DropState},
		{"an initiation with nothing but a valid mac1", func(_ *lab, _, b *node) []byte {
			msg := make([]byte, message.InitiationSize)
			(&message.Initiation{Ephemeral: [32]byte{9}}).Put(msg)
			signFor(b, msg)
			return msg
		}, DropInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, a, b := met(t, 1)
			a.send(b)
			l.run(0)
			msg := tt.msg(l, a, b)
			before := b.engine.Drops()[tt.want]
			b.receive(Endpoint{Addr: elsewhere}, msg)
			b.expectEndpoint(a, Endpoint{Addr: a.addr})
			b.expectDrops(tt.want, before+1)
		})
	}
}

// last is a copy of the newest message of a kind that n sent.
func (n *node) last(what string) []byte {
	for _, d := range slices.Backward(n.sent) {
		if kind(d.msg) == what {
			return clone(d.msg)
		}
	}
	n.Fatalf("node %d sent no %s", n.number, what)
	return nil
}

// TestEndpointOfPolicedData: the endpoint follows what is authentic, although
// the packet inside is then refused, as in the kernel.
func TestEndpointOfPolicedData(t *testing.T) {
	l, a, b := met(t, 1)
	a.move(elsewhere)
	a.sendPacketTo(b, packet4(b.ip4(), b.ip4(), 28, l.watch.id()))
	l.run(0)
	b.expectDrops(DropPolice, 1)
	b.expectEndpoint(a, Endpoint{Addr: elsewhere})
}

// TestCookieReplyMovesNothing: a cookie reply is no sign of life. It goes into
// the mac2 of the next initiation, and changes no endpoint, timer or counter.
func TestCookieReplyMovesNothing(t *testing.T) {
	l, a, b := steady(t, 0)
	l.carry = lose
	a.send(b)
	l.run(time.Second)
	var cookies handshake.Cookies
	id := handshake.NewIdentity(b.key)
	reply, err := cookies.Reply(l.now, id, a.addr, a.last("initiation"), l.source(9))
	if err != nil {
		t.Fatal(err)
	}
	msg := make([]byte, message.CookieReplySize)
	reply.Put(msg)
	p := a.peer(b)
	timers, received := p.timers, p.received.Load()
	a.trace, a.happened = nil, nil

	forged := clone(msg)
	forged[40] ^= 1
	a.receive(Endpoint{Addr: elsewhere}, forged)
	a.expectDrops(DropInvalid, 1)
	a.receive(Endpoint{Addr: elsewhere}, clone(msg))
	a.receive(Endpoint{Addr: elsewhere}, clone(msg))
	a.expectDrops(DropInvalid, 2) // once only
	a.expectEndpoint(b, Endpoint{Addr: b.addr})
	if p.timers != timers || p.received.Load() != received {
		t.Error("a cookie reply changed a timer or a counter")
	}
	a.expect("nothing is sent for it")
	a.expectEvents("nor is it told")

	l.run(5 * time.Second)
	if !cookies.CheckMAC2(l.now, a.addr, a.last("initiation")) {
		t.Error("the next initiation does not carry the cookie")
	}
}

// TestStickySource: the local address that the peer was heard on is kept for
// the answers, and dropped with every doubt about it.
func TestStickySource(t *testing.T) {
	l, a, b := steady(t, 0)
	heard := Endpoint{Addr: b.addr, Source: netip.MustParseAddr("192.0.2.99")}
	plain := Endpoint{Addr: b.addr}
	hear := func() {
		l.hold()
		b.greet(a)
		a.receive(heard, l.take(b, "keepalive").msg)
		l.carry = lose
		a.expectEndpoint(b, heard)
	}
	a.greet(b)
	l.run(0)
	a.expectEndpoint(b, plain)
	a.happened = nil
	hear()
	a.expectEvents("another source is no new endpoint")
	a.knows(b)
	a.expectEndpoint(b, heard) // the same address again

	a.send(b)
	l.run(15*time.Second - 1)
	a.expectEndpoint(b, heard)
	l.run(15 * time.Second)
	a.expectEndpoint(b, plain) // the dead-peer handshake

	hear()
	l.run(20*time.Second - 1)
	a.expectEndpoint(b, heard)
	l.run(20 * time.Second)
	a.expectEndpoint(b, plain) // a retransmission

	hear()
	a.engine.ForgetSources()
	a.expectEndpoint(b, plain) // other sockets
}

// TestEndpointUnknown: a peer that has to call first gets nothing, at no cost;
// when it is known where it is, what waits leaves at once.
func TestEndpointUnknown(t *testing.T) {
	l := newLab(t, 1)
	a, b := l.add(Config{}), l.add(Config{})
	a.knows(b, nowhere, keepalive(25*time.Second))
	b.knows(a)
	if _, ok := a.peer(b).Endpoint(); ok {
		t.Error("an endpoint from nowhere")
	}
	a.send(b)
	l.run(time.Second)
	a.expect("nobody to send to")
	if a.engine.Drops()[DropEndpoint] == 0 {
		t.Error("no drop was counted")
	}
	a.knows(b)
	a.expect("now there is", "1s initiation")
	l.run(l.now)
	b.expectDelivered(a, 1)

	// It may take as long as it likes.
	d := l.add(Config{})
	a.knows(d, nowhere, keepalive(25*time.Second))
	d.knows(a)
	l.run(l.now + time.Hour)
	a.peer(d).TryEndpoint(a.time(), d.addr, &a.out)
	a.settle()
	l.run(l.now + 25*time.Second)
	if a.peer(d).SendKey(l.now) == nil {
		t.Error("no session when an address came after an hour")
	}

	c := l.add(Config{})
	c.knows(b)
	b.knows(c, nowhere)
	b.send(c)
	c.greet(b)
	l.run(l.now + time.Second)
	c.expectDelivered(b, 1) // it called
}

// TestTryEndpoint: an address that a name resolved to is for a peer that has
// none or does not answer; where an authentic message came from wins.
func TestTryEndpoint(t *testing.T) {
	l := newLab(t, 1)
	a, b := l.add(Config{}), l.add(Config{})
	a.knows(b, nowhere)
	a.send(b)
	l.run(time.Second)
	a.peer(b).TryEndpoint(a.time(), b.addr, &a.out)
	a.settle()
	a.expect("the first address: at once", "1s initiation")
	b.expectDelivered(a, 0)

	l, a, b = steady(t, 0)
	a.greet(b)
	l.run(0)
	p := a.peer(b)
	p.TryEndpoint(a.time(), elsewhere, &a.out)
	a.settle()
	a.expectEndpoint(b, Endpoint{Addr: b.addr}) // it answers there

	l.carry = lose
	l.run(RejectAfterTime)
	a.trace = nil
	a.send(b)
	p.TryEndpoint(a.time(), elsewhere, &a.out)
	a.settle()
	a.expectEndpoint(b, Endpoint{Addr: elsewhere}) // nobody answers
	a.expect("a peer that had an address is tried again in time", "3m0s initiation")
	l.run(RejectAfterTime + 5*time.Second)
	if to := a.sent[len(a.sent)-1].to; to != elsewhere {
		t.Errorf("the next initiation went to %v", to)
	}
}
