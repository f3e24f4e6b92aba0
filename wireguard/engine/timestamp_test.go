package engine

import (
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// forge makes a valid initiation of n for m with any timestamp.
func (n *node) forge(m *node, stamp handshake.Timestamp) []byte {
	ephemeral, err := key.NewPrivate(n.source(int(n.watch.id())))
	if err != nil {
		n.Fatal(err)
	}
	id := handshake.NewIdentity(n.key)
	remote := handshake.NewRemote(id, m.key.Public())
	_, msg, err := handshake.Initiate(id, remote, 1, stamp, ephemeral)
	if err != nil {
		n.Fatal(err)
	}
	b := make([]byte, message.InitiationSize)
	msg.Put(b)
	new(handshake.Signer).Sign(n.now, remote, b)
	return b
}

// stampOf reads the timestamp of an initiation that m can open.
func (m *node) stampOf(msg []byte) handshake.Timestamp {
	in, ok := message.ParseInitiation(msg)
	if !ok {
		m.Fatal("not an initiation")
	}
	id := handshake.NewIdentity(m.key)
	r, err := handshake.Receive(id, &in)
	if err != nil {
		m.Fatal(err)
	}
	stamp, err := r.Authenticate(handshake.NewRemote(id, r.Static()))
	if err != nil {
		m.Fatal(err)
	}
	return stamp
}

// tail is a timestamp that ends in these two bytes.
func tail(a, b byte) handshake.Timestamp { return handshake.Timestamp{10: a, 11: b} }

// TestTimestampRule: an initiation is answered only with a timestamp that is
// greater than all before, as 12 big-endian bytes of any value.
func TestTimestampRule(t *testing.T) {
	l, a, b := pair(t, 1)
	for i, row := range []struct {
		stamp  handshake.Timestamp
		want   bool
		reason string
	}{
		{tail(0, 1), true, "any is greater than none"},
		{tail(0, 1), false, "the same"},
		{tail(0, 0), false, "older"},
		{tail(2, 0), true, "newer"},
		{tail(1, 0xff), false, "older, although its last byte is greater (wireguard-rs)"},
		{tail(2, 0), false, "still the same"},
		{handshake.Timestamp{0: 1}, true, "greater in the first byte"},
		{tail(0xff, 0xff), false, "less in the first byte"},
		{handshake.Timestamp{0: 0x80}, true, "bytes have no sign"},
		{handshake.TimestampAt(epoch), false, "a true time is less than what was accepted before"},
		{handshake.Timestamp{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, true, "not a time at all"},
		{handshake.Timestamp{}, false, "zero"},
	} {
		l.run(l.now + time.Second)
		before := b.peer(a).received.Load()
		b.trace = nil
		b.receive(Endpoint{Addr: a.addr}, a.forge(b, row.stamp))
		if got := len(b.trace) == 1; got != row.want {
			t.Errorf("row %d: answered %t, want %t: %s", i, got, row.want, row.reason)
		}
		if counted := b.peer(a).received.Load() != before; counted != row.want {
			t.Errorf("row %d: counted %t, want %t", i, counted, row.want)
		}
	}
	b.expectDrops(DropReplay, 7)
}

// TestReplayedInitiation is row W4 of the faults: a copy of an initiation gets
// no answer and moves nothing.
func TestReplayedInitiation(t *testing.T) {
	l, a, b := met(t, 1)
	first := a.last("initiation")
	l.run(200 * time.Second)
	a.greet(b)
	l.run(l.now)
	b.expect("a new session", "3m20s response")
	session, received := b.peer(a).current.Load(), b.peer(a).received.Load()
	elsewhere := Endpoint{Addr: l.add(Config{}).addr}
	b.receive(elsewhere, clone(first))
	b.receive(elsewhere, a.last("initiation"))
	l.run(300 * time.Second)
	b.receive(elsewhere, a.last("initiation"))
	b.expectDrops(DropReplay, 3)
	b.expect("an older one, the newest at once, and later: no answer")
	p := b.peer(a)
	if to, _ := p.Endpoint(); to.Addr != a.addr || p.current.Load() != session || p.next != nil || p.received.Load() != received {
		t.Error("a replayed initiation changed something")
	}
}

// TestOldTimestampIsTold: once, until one is accepted again, since a replayed
// initiation can come at any rate.
func TestOldTimestampIsTold(t *testing.T) {
	l, a, b := pair(t, 1)
	for i, row := range []struct {
		stamp handshake.Timestamp
		want  []string
	}{
		{tail(5, 0), nil},
		{tail(4, 0), []string{"1s old timestamp"}},
		{tail(4, 0), nil},
		{tail(3, 0), nil},
		{tail(6, 0), nil},
		{tail(6, 0), []string{"5s old timestamp"}},
	} {
		l.run(time.Duration(i) * time.Second)
		b.receive(Endpoint{Addr: a.addr}, a.forge(b, row.stamp))
		b.expectEvents("timestamp", row.want...)
	}
	l.run(6 * time.Second)
	b.receive(Endpoint{Addr: a.addr}, flip(a.forge(b, tail(1, 0)), 100))
	b.expectEvents("nothing for what is not authentic")
}

// TestTimestampSurvives: what a peer's newest timestamp was is known as long
// as the peer is: over down and up, zeroing, and a change of our private key.
func TestTimestampSurvives(t *testing.T) {
	fresh := key.PrivateFrom([32]byte{1, 2, 3})
	for _, tt := range []struct {
		name   string
		change func(l *lab, a, b *node)
		kept   bool
	}{
		{"down and up", func(_ *lab, _, b *node) { b.restart() }, true},
		{"zeroing", func(l *lab, _, _ *node) { l.run(l.now + 541*time.Second) }, true},
		{"suspend", func(_ *lab, _, b *node) {
			b.engine.Suspend(b.time(), &b.out)
			b.settle()
		}, true},
		{"our private key changes", func(_ *lab, a, b *node) {
			b.apply(Change{PrivateKey: &fresh})
			a.knows(b)
		}, true},
		{"the peer's configuration changes", func(_ *lab, a, b *node) { b.knows(a, preshared(3), keepalive(0)) }, true},
		{"the peer is removed and added", func(_ *lab, a, b *node) {
			b.knows(a, func(c *PeerChange) { c.Remove = true })
			b.knows(a, preshared(3))
		}, false},
		{"all peers are replaced by the same", func(_ *lab, a, b *node) {
			b.apply(Change{ReplacePeers: true, Peers: []PeerChange{b.change(a)}})
		}, true},
		{"all peers are replaced by others, and it comes back", func(_ *lab, a, b *node) {
			b.apply(Change{ReplacePeers: true})
			b.knows(a)
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, a, b := pair(t, 1)
			b.receive(Endpoint{Addr: a.addr}, a.forge(b, tail(5, 0)))
			tt.change(l, a, b)
			l.run(l.now + time.Second)
			b.trace = nil
			b.receive(Endpoint{Addr: a.addr}, a.forge(b, tail(4, 0)))
			b.receive(Endpoint{Addr: a.addr}, a.forge(b, tail(5, 0)))
			if got := len(b.trace) == 0; got != tt.kept {
				t.Errorf("the timestamp was kept: %t, want %t", got, tt.kept)
			}
		})
	}
}

// TestOwnTimestampsRise: our own timestamps rise from one initiation to the
// next and are whitened to 2^24 ns, whatever the wall clock does.
func TestOwnTimestampsRise(t *testing.T) {
	l, a, b := pair(t, 1)
	l.carry = lose
	last := handshake.Timestamp{}
	for i, skew := range []time.Duration{
		0, 0, -time.Hour, -10 * 365 * 24 * time.Hour, time.Second, 10 * 365 * 24 * time.Hour, 0, -50 * 365 * 24 * time.Hour, 0,
	} {
		a.skew = skew
		switch i {
		case 4:
			a.restart()
		case 6:
			fresh := key.PrivateFrom([32]byte{1, 2, 3})
			a.apply(Change{PrivateKey: &fresh})
			b.knows(a)
		}
		a.send(b)
		stamp := b.stampOf(a.last("initiation"))
		if !stamp.After(last) {
			t.Errorf("initiation %d, the wall clock off by %v: timestamp %x is not after %x", i, skew, stamp, last)
		}
		if stamp[9]|stamp[10]|stamp[11] != 0 {
			t.Errorf("timestamp %x is not whitened", stamp)
		}
		last = stamp
		l.run(l.now + 5*time.Second)
	}
	b.trace = nil
	b.receive(Endpoint{Addr: a.addr}, a.last("initiation"))
	b.expect("the peer accepts it", at(l.now, "response"))
}

// TestFlood: a peer's initiations are answered at most every 20 ms.
func TestFlood(t *testing.T) {
	l, a, b := pair(t, 1)
	for i, row := range []struct {
		when time.Duration
		want bool
	}{
		{0, true},
		{0, false},
		{20*time.Millisecond - 1, false},
		{20 * time.Millisecond, true},
		{39 * time.Millisecond, false},
		{40 * time.Millisecond, true},
		{time.Hour, true},
	} {
		l.run(row.when)
		b.trace = nil
		b.receive(Endpoint{Addr: a.addr}, a.forge(b, tail(byte(i+1), 0)))
		if got := len(b.trace) == 1; got != row.want {
			t.Errorf("row %d: answered %t, want %t", i, got, row.want)
		}
	}
	b.expectDrops(DropFlood, 3)

	// What was dropped for its time did not count as the newest timestamp.
	l.run(l.now + time.Second)
	b.trace = nil
	b.receive(Endpoint{Addr: a.addr}, a.forge(b, tail(8, 0)))
	b.expect("a later timestamp is good", at(l.now, "response"))

	// The rule is per peer.
	c := l.add(Config{})
	b.knows(c)
	c.knows(b)
	c.send(b)
	l.run(l.now)
	b.expectDrops(DropFlood, 3)
}

// TestFloodRate is row W5 of the faults: of a flood for 10 s, one initiation
// in 20 ms is answered.
func TestFloodRate(t *testing.T) {
	l, a, b := pair(t, 1)
	b.trace = nil
	for i := range 1000 {
		l.run(time.Duration(i) * 10 * time.Millisecond)
		b.receive(Endpoint{Addr: a.addr}, a.forge(b, tail(byte(i>>8), byte(i))))
	}
	answered := 0
	for _, d := range b.sent {
		if kind(d.msg) == "response" {
			answered++
		}
	}
	if answered != 499 && answered != 500 {
		t.Errorf("%d of 1000 initiations in 10 s were answered, want 500", answered)
	}
}

// TestClockJumps: the wall clocks of both sides may go where they like, and no
// session, timer or handshake minds.
func TestClockJumps(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, jump := range []time.Duration{-time.Hour, time.Hour, -10 * year, 10 * year, -50 * year} {
		l, a, b := met(t, 1)
		a.skew, b.skew = jump, -jump
		var sent, answered int
		for l.now < 400*time.Second {
			a.send(b)
			b.send(a)
			sent++
			l.run(l.now + time.Second)
			if l.now == 200*time.Second {
				a.skew, b.skew = 0, 0
			}
		}
		a.expectDelivered(b, sent)
		b.expectDelivered(a, sent)
		for _, d := range b.sent {
			if kind(d.msg) == "response" {
				answered++
			}
		}
		if got := len(a.initiations()); got != 3 || answered != 4 {
			t.Errorf("a jump by %v: %d initiations and %d answers in 400 s, want a rekey every 120 s", jump, got, answered)
		}
	}
}
