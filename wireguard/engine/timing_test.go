package engine

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"time"
	"weak"
)

// initiations are the times of n's initiations since the last expect.
func (n *node) initiations() (times []string) {
	for _, line := range n.trace {
		var when, what string
		if _, err := fmt.Sscan(line, &when, &what); err == nil && what == "initiation" {
			times = append(times, when)
		}
	}
	return times
}

// expectInitiations is expect for initiations alone.
func (n *node) expectInitiations(reason string, want ...time.Duration) {
	n.Helper()
	var lines []string
	for _, w := range want {
		lines = append(lines, w.String())
	}
	compare(n.lab, n.number, reason, n.initiations(), lines)
	n.trace = nil
}

// TestRetransmission: an initiation every 5 s and some jitter, exactly 20 of
// them, then the queue is dropped and all is quiet until keys are zeroed.
func TestRetransmission(t *testing.T) {
	eachJitter(t, func(t *testing.T, j time.Duration) {
		l, a, b := steady(t, j)
		l.carry = lose
		a.send(b)
		l.run(time.Hour)
		var sent, events []string
		for i := range 20 {
			when := time.Duration(i) * (5*time.Second + j)
			sent = append(sent, at(when, "initiation"))
			events = append(events, at(when, fmt.Sprintf("attempt %d", i+1)))
		}
		gaveUp := 20 * (5*time.Second + j)
		a.expect("20 initiations", sent...)
		a.expectEvents("20 attempts", append(events, at(gaveUp, "gave up"), at(gaveUp+540*time.Second, "keys zeroed"))...)
		a.expectDrops(DropStaged, 1)

		a.send(b)
		l.run(l.now + 5*time.Second + j)
		a.expect("new data starts again", "1h0m0s initiation", at(time.Hour+5*time.Second+j, "initiation"))
	})
}

// TestDataRestartsTheCount: as long as there is data to send, nobody gives up.
func TestDataRestartsTheCount(t *testing.T) {
	l, a, b := steady(t, 0)
	l.carry = lose
	for range 300 {
		a.send(b)
		l.run(l.now + time.Second)
	}
	if got := len(a.initiations()); got != 61 {
		t.Errorf("%d initiations in 300 s, want one every 5 s", got)
	}
	if slices.ContainsFunc(a.happened, func(s string) bool { return s == "gave up" }) {
		t.Error("gave up")
	}
}

// TestRekeyBySender: the initiator's first message at 120 s or later asks for
// a new session, whatever it is; the responder's does not.
func TestRekeyBySender(t *testing.T) {
	t.Run("initiator's data", func(t *testing.T) {
		l, a, b := met(t, 1)
		l.run(RekeyAfterTime - 1)
		a.send(b)
		a.expect("a nanosecond early", at(RekeyAfterTime-1, "data"))
		l.run(RekeyAfterTime)
		a.send(b)
		l.run(l.now)
		a.expect("due, and the new session is used at once", "2m0s data", "2m0s initiation", "2m0s keepalive")
	})
	t.Run("initiator's passive keepalive", func(t *testing.T) {
		l, a, b := met(t, 1)
		l.run(112 * time.Second)
		b.send(a)
		l.run(122 * time.Second)
		a.expect("a keepalive counts", "2m2s keepalive", "2m2s initiation", "2m2s keepalive")
	})
	t.Run("initiator's persistent keepalive", func(t *testing.T) {
		l, a, b := pair(t, 1)
		a.knows(b, keepalive(50*time.Second))
		l.run(RekeyAfterTime + 40*time.Second)
		a.expect("the first after 120 s", "0s initiation", "0s keepalive", "50s keepalive", "1m40s keepalive",
			"2m30s keepalive", "2m30s initiation", "2m30s keepalive")
	})
	t.Run("responder's data", func(t *testing.T) {
		l, a, b := met(t, 1)
		l.run(RekeyAfterTime)
		for range 9 { // before a's passive keepalive, which would begin one
			b.send(a)
			l.run(l.now + time.Second)
		}
		b.expectInitiations("a responder does not go by time")
		a.expectInitiations("nor does an initiator that does not send")
	})
	t.Run("what an old session carried last", func(t *testing.T) {
		l, a, b := met(t, 1)
		l.run(RekeyAfterTime)
		old := a.peer(b).current.Load()
		a.greet(b)
		l.run(l.now + RekeyTimeout) // there is a new one
		a.trace = nil
		a.peer(b).Sent(a.time(), old, 64, &a.out)
		a.settle()
		a.expect("a rekey was made for it already")
	})
	t.Run("once in 5 s", func(t *testing.T) {
		l, a, b := steady(t, 333*time.Millisecond)
		a.greet(b)
		l.run(RekeyAfterTime)
		a.trace = nil
		l.carry = lose
		for range 11 {
			a.send(b)
			l.run(l.now + 500*time.Millisecond)
		}
		a.expectInitiations("data does not hasten it", 120*time.Second, 125*time.Second)
	})
}

// TestLastMinuteRekey: who only receives asks for a new session at 165 s, once
// per session, and only its initiator does.
func TestLastMinuteRekey(t *testing.T) {
	eachJitter(t, func(t *testing.T, j time.Duration) {
		l, a, b := steady(t, j)
		a.greet(b)
		l.run(165*time.Second - 1)
		b.send(a)
		a.expectInitiations("a nanosecond early", 0)
		l.run(165 * time.Second)
		l.carry = func(d datagram) {
			if kind(d.msg) != "initiation" {
				l.arrive(d, 0)
			}
		}
		b.send(a)
		l.run(l.now)
		a.expectInitiations("due", 165*time.Second)
		if a.peer(b).timers.attempts != 0 {
			t.Error("an initiation by need is no retransmission")
		}
		l.run(172 * time.Second)
		b.send(a)
		l.run(l.now)
		if a.peer(b).timers.attempts != 1 {
			t.Error("asked for a second time in the same session")
		}
		l.carry = nil
		l.run(179 * time.Second)
		born := 175*time.Second + 2*j
		a.expectInitiations("it is retransmitted", 170*time.Second+j, born)
		l.run(born + 165*time.Second - 1)
		b.send(a)
		l.run(l.now)
		a.expectInitiations("the new session: a nanosecond early")
		l.run(born + 165*time.Second)
		b.send(a)
		l.run(l.now)
		a.expectInitiations("the new session has its own last minute", born+165*time.Second)
	})
	t.Run("not by the responder", func(t *testing.T) {
		l, a, b := met(t, 1)
		l.run(170 * time.Second)
		a.peer(b).notBefore = never // a wants a new session, and may not
		a.send(b)
		l.run(l.now)
		b.expect("nothing to say")
		b.expectDelivered(a, 1)
	})
}

// TestSessionExpires: at 180 s neither side sends or accepts with a session
// any more, and who has data asks for a new one.
func TestSessionExpires(t *testing.T) {
	for _, byInitiator := range []bool{true, false} {
		t.Run(fmt.Sprintf("initiator sends %t", byInitiator), func(t *testing.T) {
			l, a, b := met(t, 1)
			if !byInitiator {
				a, b = b, a
			}
			a.peer(b).notBefore = RejectAfterTime // no rekey meanwhile
			l.hold()
			l.run(RejectAfterTime - 1)
			a.send(b)
			early, late := l.take(a, "data"), RejectAfterTime
			l.hand(early)
			b.expectDelivered(a, 1)

			a.send(b)
			onTheWay := l.take(a, "data")
			l.run(late)
			l.hand(onTheWay)
			b.expectDelivered(a, 1)
			b.expectDrops(DropExpired, 1)
			a.expect("until then it is good", "2m59.999999999s data", "2m59.999999999s data")
			if a.peer(b).SendKey(l.now) != nil || b.peer(a).SendKey(l.now) != nil {
				t.Error("the session can still be sent with")
			}
			a.send(b)
			a.expect("data needs a new one", "3m0s initiation")
		})
	}
}

// TestDeadPeer: 15 s and some jitter after the first data that nothing came
// back for, there is a new handshake.
func TestDeadPeer(t *testing.T) {
	eachJitter(t, func(t *testing.T, j time.Duration) {
		l, a, b := steady(t, j)
		a.greet(b)
		l.run(20 * time.Second)
		a.expectInitiations("the session", 0)
		l.carry = lose
		for range 4 { // 20, 25, 30, 35 s: later data does not put it off
			a.send(b)
			l.run(l.now + 5*time.Second - 1)
			a.expectInitiations("patience")
			l.run(l.now + 1)
			if l.now == 35*time.Second {
				break
			}
		}
		l.run(35*time.Second + j)
		a.expectInitiations("from the first", 35*time.Second+j)
		if a.peer(b).patience != 0 {
			t.Error("the next has the same jitter")
		}
	})
	t.Run("any authenticated message is a sign of life", func(t *testing.T) {
		l, a, b := steady(t, 0)
		a.greet(b)
		l.run(20 * time.Second)
		a.send(b)
		l.run(29 * time.Second)
		b.greet(a)
		l.run(30 * time.Second)
		a.trace = nil
		l.carry = lose
		a.send(b) // the first unanswered one
		l.run(44 * time.Second)
		a.expectInitiations("none from 20 s")
		l.run(45 * time.Second)
		a.expectInitiations("one from 30 s", 45*time.Second)
	})
	t.Run("an initiation is one too", func(t *testing.T) {
		l, a, b := met(t, 1)
		l.run(20 * time.Second)
		l.hold()
		a.send(b) // is lost
		l.run(30 * time.Second)
		b.restart()
		b.send(a)
		l.pass(b, "initiation")
		l.run(49 * time.Second)
		a.expect("none at 35 s", "20s data", "30s response")
	})
	t.Run("a keepalive of ours needs no answer", func(t *testing.T) {
		l, a, b := steady(t, 0)
		a.greet(b)
		l.run(0)
		a.trace = nil
		l.carry = lose
		a.greet(b)
		l.run(100 * time.Second)
		a.expect("that one only", "0s keepalive")
	})
}

// TestInitiationGate: two initiations to one peer are 5 s apart, exactly so if
// asked for, and a response that we sent counts like one.
func TestInitiationGate(t *testing.T) {
	t.Run("after an initiation", func(t *testing.T) {
		l, a, b := steady(t, 333*time.Millisecond)
		l.carry = lose
		a.send(b)
		l.run(5*time.Second - 1)
		a.send(b)
		a.expectInitiations("a nanosecond early", 0)
		l.run(5 * time.Second)
		a.send(b)
		a.expectInitiations("data need not wait for the jitter", 5*time.Second)
	})
	t.Run("asked for once, however long it takes to make", func(t *testing.T) {
		l, a, b := steady(t, 0)
		a.lazy = true
		a.send(b)
		a.send(b)
		l.run(7 * time.Second)
		a.send(b)
		if len(a.wanted) != 1 {
			t.Errorf("asked for %d times", len(a.wanted))
		}
	})
	t.Run("after a response", func(t *testing.T) {
		l, a, b := steady(t, 0)
		l.run(3 * time.Second)
		a.send(b)
		l.carry = lose // all but the initiation, which is on its way
		l.run(8*time.Second - 1)
		b.send(a)
		b.expect("a response, and no initiation so soon", "3s response")
		l.run(8 * time.Second)
		b.send(a)
		b.expect("5 s later there may be one", "8s initiation")
	})
	t.Run("a retransmission is put off for a response", func(t *testing.T) {
		l, a, b := steady(t, 0)
		l.hold()
		a.send(b)
		l.run(4 * time.Second)
		b.send(a)
		l.pass(b, "initiation")
		l.run(9*time.Second - 1)
		a.expect("due at 5 s, and too soon after the response", "0s initiation", "4s response")
		l.run(9 * time.Second)
		a.expect("but not forgotten", "9s initiation")
	})
}

// TestZeroing: 540 s after the last session every key goes, and nothing refers
// to one any more.
func TestZeroing(t *testing.T) {
	l, a, b := met(t, 1)
	l.run(10 * time.Second)
	a.peer(b).current.Load().retired.Store(true)
	l.carry = lose
	a.send(b) // leaves an unanswered initiation behind
	l.run(200 * time.Second)
	p := a.peer(b)
	if p.pending == nil || p.current.Load() == nil {
		t.Fatal("the test needs a handshake and a session")
	}
	state, session := p.pending.state, weak.Make(p.current.Load())
	l.run(540*time.Second - 1)
	if a.engine.indices.size() == 0 {
		t.Fatal("zeroed a nanosecond early")
	}
	a.happened = nil
	l.run(540 * time.Second)
	a.expectEvents("it is said", "9m0s keys zeroed")
	for _, n := range l.nodes {
		if size := n.engine.indices.size(); size != 0 {
			t.Errorf("node %d: %d indices are left", n.number, size)
		}
	}
	if p.previous != nil || p.current.Load() != nil || p.next != nil || p.pending != nil || p.late != nil {
		t.Error("a session or a handshake is left")
	}
	if !reflect.ValueOf(*state).IsZero() {
		t.Error("the handshake was not wiped")
	}
	runtime.GC()
	if session.Value() != nil {
		t.Error("the session is still referred to")
	}
}
