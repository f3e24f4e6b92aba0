package engine

import (
	"testing"
	"time"
)

// TestPassiveKeepalive: who was sent data and had nothing to say answers once,
// 10 s after the first; nobody answers that.
func TestPassiveKeepalive(t *testing.T) {
	for _, tt := range []struct {
		name    string
		data    []time.Duration // from a to b
		answers []time.Duration // data from b to a
		want    []string        // what b sends
	}{
		{"once", []time.Duration{0}, nil, []string{"10s keepalive"}},
		{
			"more data does not put it off, nor make it two: so do the kernel and wireguard-go",
			[]time.Duration{0, 5 * time.Second},
			nil,
			[]string{"10s keepalive"},
		},
		{
			"data behind the keepalive has its own",
			[]time.Duration{0, 10*time.Second + 1},
			nil,
			[]string{"10s keepalive", "20.000000001s keepalive"},
		},
		{"data of ours serves as well", []time.Duration{0}, []time.Duration{9 * time.Second}, []string{"9s data"}},
		{
			"not data from before",
			[]time.Duration{5 * time.Second},
			[]time.Duration{4 * time.Second},
			[]string{"4s data", "15s keepalive"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, a, b := met(t, 1)
			for _, when := range tt.data {
				l.at(when, func() { a.send(b) })
			}
			for _, when := range tt.answers {
				l.at(when, func() { b.send(a) })
			}
			l.run(100 * time.Second)
			b.expect(tt.name, tt.want...)
		})
	}
	t.Run("a response serves as well", func(t *testing.T) {
		l, a, b := met(t, 1)
		a.send(b)
		l.run(9 * time.Second)
		a.restart()
		a.greet(b)
		l.run(100 * time.Second)
		b.expect("the kernel had that as a bug", "9s response")
	})
	t.Run("keepalives are never answered", func(t *testing.T) {
		l, a, b := met(t, 1)
		a.greet(b)
		l.run(100 * time.Second)
		b.expect("two idle peers must not talk for ever")
	})
	t.Run("bad data is data", func(t *testing.T) {
		l, a, b := met(t, 1)
		stranger := l.add(Config{})
		a.sendPacketTo(b, packet4(stranger.ip4(), b.ip4(), 28, l.watch.id()))
		l.run(10 * time.Second)
		b.expectDrops(DropPolice, 1)
		b.expect("it was authenticated", "10s keepalive")
	})
}

// sendPacketTo sends m any packet, whatever its destination.
func (n *node) sendPacketTo(m *node, packet []byte) {
	p := n.peer(m)
	p.Stage(n.time(), &n.out, packet)
	n.settle()
}

// TestPersistentKeepalive: an interval after the last authenticated message,
// in either direction, and whatever else may have happened.
func TestPersistentKeepalive(t *testing.T) {
	const every = 25 * time.Second
	t.Run("at configuration", func(t *testing.T) {
		l, a, b := pair(t, 1)
		a.knows(b, keepalive(every))
		l.run(60 * time.Second)
		a.expect("at once, then each interval", "0s initiation", "0s keepalive", "25s keepalive", "50s keepalive")
		a.knows(b, keepalive(every))
		a.expect("the same again changes nothing")
		a.knows(b, keepalive(0))
		l.run(119 * time.Second)
		a.expect("switched off")
		if at := a.peer(b).timers.persistent; at != never {
			t.Errorf("its timer is still pending, for %v", at)
		}
	})
	t.Run("when the engine goes up", func(t *testing.T) {
		l, a, b := pair(t, 1)
		a.engine.Down()
		a.knows(b, keepalive(every))
		a.expect("not while it is down")
		a.restart()
		l.run(0)
		a.expect("at once", "0s initiation", "0s keepalive")
	})
	t.Run("any authenticated message puts it off", func(t *testing.T) {
		l, a, b := pair(t, 1)
		a.knows(b, keepalive(every))
		l.at(10*time.Second, func() { b.greet(a) })
		l.at(20*time.Second, func() { a.send(b) })
		l.at(30*time.Second, func() { b.send(a) })
		l.run(66 * time.Second)
		a.expect("10 s: received, 20 s: sent, 40 s: passive keepalive", "0s initiation", "0s keepalive", "20s data",
			"40s keepalive", "1m5s keepalive")
	})
	t.Run("a handshake is such a message", func(t *testing.T) {
		l, a, b := pair(t, 1)
		b.lazy = true
		a.knows(b, keepalive(every))
		l.run(0)
		l.run(20 * time.Second)
		b.peer(a).current.Load().retired.Store(true)
		b.lazy = false
		b.greet(a)
		l.run(46 * time.Second)
		a.expect("put off by the initiation and the response at 20 s", "0s initiation", "0s keepalive", "20s response",
			"45s keepalive")
	})
	t.Run("an unauthenticated message does not", func(t *testing.T) {
		l, a, b := pair(t, 1)
		a.knows(b, keepalive(every))
		l.run(20 * time.Second)
		forged := clone(a.sent[1].msg)
		forged[4]++ // no such session
		a.receive(Endpoint{Addr: b.addr}, forged)
		l.run(26 * time.Second)
		a.expect("as if nothing had come", "0s initiation", "0s keepalive", "25s keepalive")
	})
	t.Run("after giving up", func(t *testing.T) {
		eachJitter(t, func(t *testing.T, j time.Duration) {
			l, a, b := steady(t, j)
			l.carry = lose
			a.knows(b, keepalive(every))
			last := 19 * (5*time.Second + j)
			l.run(last + every - 1)
			a.trace = nil
			a.expectEventually("gave up")
			l.run(last + every)
			a.expect("it begins again", at(last+every, "initiation"))
			l.run(l.now + time.Hour)
			l.carry = nil
			l.run(l.now + 26*time.Second)
			if a.peer(b).SendKey(l.now) == nil {
				t.Error("no session within an interval of the peer's return")
			}
		})
	})
	t.Run("after 540 s", func(t *testing.T) {
		l, a, b := pair(t, 1)
		a.knows(b, keepalive(every))
		l.run(0)
		l.carry = lose
		l.run(541 * time.Second)
		a.expectEventually("9m0s keys zeroed")
		l.carry = nil
		l.run(l.now + 26*time.Second)
		if a.peer(b).SendKey(l.now) == nil {
			t.Error("no session within an interval of the peer's return")
		}
	})
	t.Run("shorter than Rekey-Timeout, and the initiator vanished", func(t *testing.T) {
		// The interval ends while our response still keeps us from initiating,
		// and no retransmission is pending. The kernel then stays silent.
		l, a, b := pair(t, 1)
		b.lazy = true // their initiation is served before ours is made
		b.knows(a, keepalive(time.Second))
		a.send(b)
		l.carry = lose // all but the initiation, which is on its way
		l.run(0)
		b.lazy = false
		b.initiate()
		b.expect("answered, and nothing else", "0s response")
		a.engine.Down()
		a.engine.Up(a.time(), &a.out)
		l.carry = nil
		l.run(6 * time.Second)
		if b.peer(a).SendKey(l.now) == nil {
			t.Error("the keepalive did not revive the peer")
		}
	})
}

// expectEventually wants an event to have happened whose line ends so.
func (n *node) expectEventually(line string) {
	n.Helper()
	for _, got := range n.happened {
		if len(got) >= len(line) && got[len(got)-len(line):] == line {
			return
		}
	}
	n.Fatalf("node %d at %v: no %q among %q", n.number, n.now, line, n.happened)
}
