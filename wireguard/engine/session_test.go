package engine

import (
	"fmt"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard/handshake"
)

// slots names what is in a peer's three slots: "c" is the session that was
// current when a test began, "-" is an empty slot.
type slots struct{ previous, current, next string }

// slotTest is a peer whose sessions have names.
type slotTest struct {
	peer  *Peer
	named map[string]*Keypair
	local uint32
}

func newSlotTest(l *lab, before slots) *slotTest {
	a, b := l.add(Config{}), l.add(Config{})
	a.knows(b)
	s := &slotTest{peer: a.peer(b), named: map[string]*Keypair{"-": nil}}
	s.peer.previous = s.session(before.previous)
	s.peer.next = s.session(before.next)
	s.peer.current.Store(s.session(before.current))
	return s
}

// session makes a session of this name, in the index table.
func (s *slotTest) session(name string) *Keypair {
	if name == "-" {
		return nil
	}
	s.local++
	k := newKeypair(s.peer, &handshake.Keys{}, s.local, 0, true, 0)
	s.peer.engine.indices.set(k.local, indexEntry{peer: s.peer, keypair: k})
	s.named[name] = k
	return k
}

// check compares the slots, and that exactly what is in them can be found.
func (s *slotTest) check(t *testing.T, want slots) {
	t.Helper()
	name := func(k *Keypair) string {
		for n, named := range s.named {
			if named == k {
				return n
			}
		}
		return "?"
	}
	p := s.peer
	if got := (slots{name(p.previous), name(p.current.Load()), name(p.next)}); got != want {
		t.Errorf("slots %v, want %v", got, want)
	}
	for n, k := range s.named {
		if k == nil {
			continue
		}
		kept := n == want.previous || n == want.current || n == want.next
		if found := p.engine.indices.find(k.local).keypair == k; found != kept {
			t.Errorf("session %s can be found: %t, want %t", n, found, kept)
		}
	}
}

// TestSlots is the kernel's table of key slots (PROTOCOL, 1.6), each event
// from every state of the slots.
func TestSlots(t *testing.T) {
	for _, event := range []struct {
		name string
		do   func(t *testing.T, s *slotTest)
		want func(b slots) slots
	}{
		{
			"we are the initiator",
			func(_ *testing.T, s *slotTest) { s.peer.beginAsInitiator(s.session("n")) },
			func(b slots) slots {
				if b.next != "-" {
					return slots{b.next, "n", "-"} // they initiated as well
				}
				return slots{b.current, "n", "-"}
			},
		},
		{
			"our older initiation was answered", // which is not in the kernel's
			func(_ *testing.T, s *slotTest) { s.peer.beginLate(s.session("n")) },
			func(b slots) slots { return slots{b.current, "n", b.next} },
		},
		{
			"we are the responder",
			func(_ *testing.T, s *slotTest) { s.peer.beginAsResponder(s.session("n")) },
			func(b slots) slots { return slots{"-", b.current, "n"} },
		},
		{
			"next is confirmed",
			func(t *testing.T, s *slotTest) {
				if x := s.named["x"]; x != nil && !s.peer.confirm(x) {
					t.Error("confirm did not say so")
				}
			},
			func(b slots) slots {
				if b.next == "-" {
					return b
				}
				return slots{b.current, b.next, "-"}
			},
		},
		{
			"current or previous is heard",
			func(t *testing.T, s *slotTest) {
				for _, k := range []*Keypair{s.named["c"], s.named["p"]} {
					if k != nil && s.peer.confirm(k) {
						t.Error("confirm moved a session that was confirmed before")
					}
				}
			},
			func(b slots) slots { return b },
		},
		{
			"all are zeroed",
			func(_ *testing.T, s *slotTest) { s.peer.dropKeypairs() },
			func(slots) slots { return slots{"-", "-", "-"} },
		},
	} {
		for _, p := range []string{"-", "p"} {
			for _, c := range []string{"-", "c"} {
				for _, x := range []string{"-", "x"} {
					before := slots{p, c, x}
					t.Run(fmt.Sprintf("%s/%s%s%s", event.name, p, c, x), func(t *testing.T) {
						s := newSlotTest(newLab(t, 1), before)
						s.check(t, before)
						event.do(t, s)
						s.check(t, event.want(before))
					})
				}
			}
		}
	}
}

// TestResponderWaitsForConfirmation: the responder sends nothing with a
// session that its initiator has not used, and the initiator uses it at once.
func TestResponderWaitsForConfirmation(t *testing.T) {
	l, a, b := pair(t, 1)
	l.hold()
	a.send(b)
	l.pass(a, "initiation")
	b.send(a) // has no session to go by
	b.expect("data waits for the confirmation", "0s response")
	l.pass(b, "response")
	a.expect("what was staged confirms the session", "0s initiation", "0s data")
	l.pass(a, "data")
	b.expect("and lets go what waited", "0s data")
	l.pass(b, "data")
	a.expectDelivered(b, 1)
	b.expectDelivered(a, 1)
}

// TestResponderKeepsSendingOnCurrent: until then the responder goes on with
// the session that it has.
func TestResponderKeepsSendingOnCurrent(t *testing.T) {
	l, a, b := met(t, 1)
	l.run(RekeyAfterTime)
	l.hold()
	old := b.peer(a).current.Load()
	a.send(b) // the session is 120 s old
	l.pass(a, "data")
	l.pass(a, "initiation")
	l.pass(b, "response")
	b.send(a)
	if k := b.peer(a).current.Load(); k != old || old.counter.Load() != 1 {
		t.Error("the responder did not use its old session before the confirmation")
	}
	l.pass(b, "data")
	a.expectDelivered(b, 1) // a has it as previous
	l.pass(a, "keepalive")
	if k := b.peer(a).current.Load(); k == old || k != a.sessionAtOther(b) {
		t.Error("the confirmed session is not current")
	}
	b.send(a)
	l.pass(b, "data")
	a.expectDelivered(b, 2)
}

// sessionAtOther is m's side of n's current session.
func (n *node) sessionAtOther(m *node) *Keypair {
	return m.engine.indices.find(n.peer(m).current.Load().remote).keypair
}

// TestSimultaneousInitiations: both sides begin at once, and what they send
// arrives in any order. In the end both send with a session that the other
// has, without another handshake.
func TestSimultaneousInitiations(t *testing.T) {
	type arrival struct {
		byFirst bool
		what    string
	}
	for _, tt := range []struct {
		name     string
		arrivals []arrival
	}{
		{
			"both initiations first: each side answers, one gives its own up",
			[]arrival{{true, "initiation"}, {false, "initiation"}, {true, "response"}, {false, "response"}},
		},
		{
			"the first one's is answered before the second one's arrives",
			[]arrival{{true, "initiation"}, {false, "response"}, {false, "initiation"}, {true, "response"}},
		},
		{
			"the same, and the first confirms before it answers",
			[]arrival{{true, "initiation"}, {false, "response"}, {true, "data"}, {false, "initiation"}, {true, "response"}},
		},
		{
			"the first one's initiation is lost",
			[]arrival{{false, "initiation"}, {true, "response"}},
		},
	} {
		for _, swap := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/swapped %t", tt.name, swap), func(t *testing.T) {
				l, a, b := pair(t, 1)
				l.hold()
				a.send(b)
				b.send(a)
				if swap {
					a, b = b, a
				}
				for _, step := range tt.arrivals {
					n := b
					if step.byFirst {
						n = a
					}
					l.pass(n, step.what)
				}
				l.carry = nil
				rest := l.held
				l.held = nil
				for _, d := range rest {
					if kind(d.msg) == "data" || kind(d.msg) == "keepalive" {
						l.hand(d)
					}
				}
				l.run(0)
				a.expectDelivered(b, 1)
				b.expectDelivered(a, 1)
				a.send(b)
				b.send(a)
				l.run(0)
				a.expectDelivered(b, 2)
				b.expectDelivered(a, 2)
			})
		}
	}
}

// TestAnsweredWhileNextWaits is the row of the table that takes two
// handshakes: we answered one that was never confirmed, and are answered.
func TestAnsweredWhileNextWaits(t *testing.T) {
	l, a, b := met(t, 1)
	l.run(RejectAfterTime)
	l.hold()
	b.send(a)
	l.pass(b, "initiation")
	l.take(a, "response") // lost
	old, theirs := a.peer(b).current.Load(), a.peer(b).next
	l.run(l.now + RekeyTimeout)
	a.send(b)
	l.pass(a, "initiation")
	l.pass(b, "response")
	p := a.peer(b)
	if theirs == nil || p.previous != theirs || p.next != nil || p.current.Load() == old {
		t.Error("the unconfirmed session is not kept as previous")
	}
	if a.engine.indices.find(old.local).keypair != nil {
		t.Error("the old session can still be found")
	}
}
