package engine

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestCrossing is row W15 of the faults: two sides begin at about the same
// time, in 1000 seeded interleavings of what they send. Data flows both ways
// within two round trips; the row allows Rekey-Timeout and some more.
func TestCrossing(t *testing.T) {
	crossed := 0
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 2))
		l, a, b := pair(t, seed)
		delay := 1 + r.Int64N(int64(time.Second))
		l.carry = func(d datagram) { l.arrive(d, time.Duration(r.Int64N(delay))) }
		start := time.Duration(r.Int64N(delay))
		a.send(b)
		l.at(start, func() { b.send(a) })
		l.run(start + 4*time.Duration(delay))
		if a.delivered[b] != 1 || b.delivered[a] != 1 {
			t.Fatalf("seed %d: %d and %d packets arrived within two round trips of %v", seed, a.delivered[b], b.delivered[a], 2*time.Duration(delay))
		}
		if len(a.initiations())+len(b.initiations()) == 2 {
			crossed++
		}
	}
	if crossed < 500 {
		t.Errorf("initiations crossed in %d of 1000 cases only", crossed)
	}
}

// TestCrossingOnALongPath: with data on both sides from the start, and a delay
// that is far larger than any jitter, initiations cross for certain, and could
// do so for ever.
func TestCrossingOnALongPath(t *testing.T) {
	for delay := 100 * time.Millisecond; delay < 5*time.Second; delay += 100 * time.Millisecond {
		l, a, b := steady(t, 0) // both with the same jitter
		l.carry = func(d datagram) { l.arrive(d, delay) }
		for l.now < 4*delay+RekeyTimeout+maxJitter {
			a.send(b)
			b.send(a)
			l.run(l.now + 250*time.Millisecond)
		}
		if a.delivered[b] == 0 || b.delivered[a] == 0 {
			t.Errorf("a delay of %v: %d and %d packets arrived", delay, a.delivered[b], b.delivered[a])
		}
	}
}

// TestCrossingWithTheKernel: the kernel gives its own initiation up for ours,
// whatever the keys. Whoever of us plays it, there is a session: at once if it
// is our initiation that lives on, else after Rekey-Timeout.
func TestCrossingWithTheKernel(t *testing.T) {
	for _, swap := range []bool{false, true} {
		l, ours, kernel := pair(t, 3)
		if swap {
			ours, kernel = kernel, ours
		}
		kernel.peer(ours).yields = true
		l.carry = func(d datagram) { l.arrive(d, 50*time.Millisecond) }
		ours.send(kernel)
		kernel.send(ours)
		l.run(200 * time.Millisecond)
		done := ours.delivered[kernel] == 1 && kernel.delivered[ours] == 1
		if done == ours.peer(kernel).yields {
			t.Errorf("our side yields %t, connected at once %t", ours.peer(kernel).yields, done)
		}
		l.run(6 * time.Second)
		ours.expectDelivered(kernel, 1)
		kernel.expectDelivered(ours, 1)
	}
}

// TestCrossingWithALateResponse: b keeps its initiations for those of a. It
// answers a newer one of a, and then gets the responses to both of its own,
// the older of which a has ended. The two slots that receive must then be those
// of the two sessions that a may send with. Where one was not, a would not see
// it for two minutes, since it hears b.
func TestCrossingWithALateResponse(t *testing.T) {
	l, a, b := steady(t, 0)
	if !a.peer(b).yields {
		a, b = b, a
	}
	b.engine.rand.(*steadyJitter).jitter = maxJitter // so that a's timer is before b's
	l.hold()
	b.send(a)
	l.pass(b, "initiation")
	l.run(RekeyTimeout + maxJitter)
	a.send(b)
	l.pass(b, "initiation")
	first, second := l.take(a, "response"), l.take(a, "response")
	l.take(a, "initiation")
	l.run(2*RekeyTimeout + maxJitter)
	l.pass(a, "initiation")
	l.carry = nil
	l.hand(first)
	l.hand(second)
	l.pass(b, "response")
	l.run(l.now)
	fromA, fromB := b.delivered[a], a.delivered[b]
	for i := range 10 {
		a.send(b)
		b.send(a)
		l.run(l.now + time.Second)
		a.expectDelivered(b, fromB+1+i)
		b.expectDelivered(a, fromA+1+i)
	}
}

// TestLateResponseOfAnEndedSession: b gave the session of a's older initiation
// up for the newer one, the response to which is lost. a hears b in the session
// before, so that only the handshake's own timer can see that a is not heard.
func TestLateResponseOfAnEndedSession(t *testing.T) {
	l, a, b := met(t, 1)
	l.run(RekeyAfterTime)
	l.hold()
	a.greet(b) // and initiates
	l.pass(a, "initiation")
	late := l.take(b, "response")
	l.run(l.now + RekeyTimeout + maxJitter)
	l.pass(a, "initiation")
	l.take(b, "response")
	l.carry = nil
	l.hand(late)
	for end := l.now + 2*(RekeyTimeout+maxJitter); l.now < end; {
		a.send(b)
		b.send(a)
		l.run(l.now + time.Second)
	}
	before := b.delivered[a]
	a.send(b)
	l.run(l.now)
	b.expectDelivered(a, before+1)
}
