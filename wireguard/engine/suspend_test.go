package engine

import (
	"testing"
	"time"
)

// wake is what a Device does when the machine was asleep until now.
func (n *node) wake() {
	n.engine.Suspend(n.time(), &n.out)
	n.settle()
}

// TestSuspend: after a sleep the sessions go, and a handshake is made at once
// with each peer that had one, has a keepalive or is waited for.
func TestSuspend(t *testing.T) {
	t.Run("had a session", func(t *testing.T) {
		for _, responder := range []bool{false, true} {
			l, a, b := met(t, 1)
			if responder {
				a, b = b, a
			}
			l.run(30 * time.Second)
			a.wake()
			a.expect("at once", "30s initiation")
			if a.peer(b).SendKey(l.now) != nil {
				t.Error("the session is still there")
			}
			l.run(l.now)
			a.send(b)
			b.send(a)
			l.run(l.now)
			a.expectDelivered(b, 1)
			b.expectDelivered(a, 1)
		}
	})
	t.Run("has a keepalive", func(t *testing.T) {
		l, a, b := pair(t, 1)
		a.knows(b, keepalive(25*time.Second))
		l.run(0)
		l.carry = lose
		l.run(time.Hour)
		a.trace = nil
		l.carry = nil
		l.now += time.Hour // the timers slept too
		a.wake()
		a.expect("at once", "2h0m0s initiation")
	})
	t.Run("neither", func(t *testing.T) {
		l, a, _ := pair(t, 1)
		l.run(time.Hour)
		a.wake()
		l.run(l.now + time.Hour)
		a.expect("silence")
	})
	t.Run("has packets waiting", func(t *testing.T) {
		l, a, b := pair(t, 1)
		l.carry = lose
		a.send(b)
		l.run(3 * time.Second)
		l.carry = nil
		a.wake()
		a.expect("not twice in 5 s", "0s initiation")
		if a.peer(b).pending != nil {
			t.Error("what was sent before the sleep can still be answered")
		}
		l.run(5 * time.Second)
		b.expectDelivered(a, 1)
	})
	t.Run("nobody answers", func(t *testing.T) {
		l, a, _ := steady(t, 0)
		b := l.nodes[1]
		a.greet(b)
		l.run(30 * time.Second)
		l.carry = lose
		a.trace, a.happened = nil, nil
		a.wake()
		l.run(time.Hour)
		if got := len(a.initiations()); got != 20 {
			t.Errorf("%d initiations, want 20 as ever", got)
		}
		a.expectEventually("gave up")
	})
	t.Run("down", func(t *testing.T) {
		l, a, b := pair(t, 1)
		a.engine.Down()
		a.knows(b, keepalive(25*time.Second))
		a.wake()
		l.run(time.Hour)
		a.expect("silence")
		if a.peer(b).Deadline() != never {
			t.Error("a peer that is down has a deadline")
		}
	})
}

// TestLastHeard: every authenticated message of any peer counts, and nothing
// else.
func TestLastHeard(t *testing.T) {
	l, a, b := pair(t, 1)
	if a.engine.LastHeard() > 0 {
		t.Error("heard something already")
	}
	heard := func(reason string, want time.Duration) {
		t.Helper()
		l.run(l.now)
		if got := a.engine.LastHeard(); got != want {
			t.Errorf("%s: heard at %v, want %v", reason, got, want)
		}
	}
	l.run(time.Second)
	a.greet(b)
	heard("a response", time.Second)
	l.run(2 * time.Second)
	b.send(a)
	heard("data", 2*time.Second)
	l.run(3 * time.Second)
	a.send(b)
	a.receive(Endpoint{Addr: b.addr}, b.last("data"))
	heard("a replay, and data of ours", 2*time.Second)
	l.run(4 * time.Second)
	b.greet(a)
	heard("a keepalive", 4*time.Second)
	l.run(6 * time.Second)
	b.restart()
	b.greet(a)
	heard("an initiation", 6*time.Second)
}
