package engine

import (
	"slices"
	"testing"
	"time"
)

// TestStagedQueue: 128 packets wait, the oldest goes for a new one, and they
// leave in their order when there is a session.
func TestStagedQueue(t *testing.T) {
	for _, n := range []int{1, 127, 128, 129, 300} {
		l, a, b := pair(t, 1)
		var got []uint64
		l.watch.onPacket = func(id uint64) { got = append(got, id) }
		var want []uint64
		for i := range n {
			a.send(b)
			if i >= n-128 {
				want = append(want, l.watch.ids)
			}
		}
		a.expectInitiations("one handshake for all", 0)
		l.run(0)
		if !slices.Equal(got, want) {
			t.Errorf("of %d packets arrived %v, want %v", n, got, want)
		}
		a.expectDrops(DropStaged, uint64(n-len(want)))
		if q := a.peer(b).staged; q != nil {
			t.Error("the empty queue keeps its memory")
		}
	}
}

// TestStagedOrder: the order of the queue itself, full and not.
func TestStagedOrder(t *testing.T) {
	var q stagedQueue
	next, oldest := byte(0), byte(0)
	for round := range 5 {
		for range 100 {
			packet := []byte{next}
			if q.push(packet) {
				oldest++
			}
			packet[0] = 0xff // the queue keeps a copy
			next++
		}
		for range 60 - 10*round {
			if got := q.pop(); got[0] != oldest {
				t.Fatalf("packet %d, want %d", got[0], oldest)
			}
			oldest++
		}
		if len(q) != int(next-oldest) {
			t.Fatalf("%d packets, want %d", len(q), next-oldest)
		}
	}
}

// TestStagedByTheResponder: its packets wait until its session is confirmed,
// and need no timer to leave then.
func TestStagedByTheResponder(t *testing.T) {
	l, a, b := pair(t, 1)
	l.hold()
	a.greet(b)
	l.pass(a, "initiation")
	for range 3 {
		b.send(a)
	}
	l.pass(b, "response")
	b.expect("not before the confirmation", "0s response")
	l.carry = nil
	l.pass(a, "keepalive")
	l.run(0)
	b.expect("now", "0s data", "0s data", "0s data")
	a.expectDelivered(b, 3)
}

// TestStagedWhileDown: a peer that is down keeps nothing.
func TestStagedWhileDown(t *testing.T) {
	l, a, b := pair(t, 1)
	a.send(b)
	a.engine.Down()
	a.expectDrops(DropStaged, 1)
	if a.peer(b).staged != nil {
		t.Error("the dropped queue keeps its memory")
	}
	a.send(b)
	a.expectDrops(DropRemoved, 1)
	a.restart()
	l.run(time.Minute)
	b.expectDelivered(a, 0)

	p := a.peer(b)
	a.apply(Change{ReplacePeers: true})
	p.Stage(a.time(), &a.out, []byte{1}, []byte{2})
	a.settle()
	a.expectDrops(DropRemoved, 3)
}

// TestStagedKeepalive: a keepalive is staged once, however often it
// is wanted, and data takes its place.
func TestStagedKeepalive(t *testing.T) {
	l, a, b := pair(t, 1)
	a.greet(b)
	a.greet(b)
	l.carry = lose
	l.run(0)
	if n := len(a.peer(b).staged); n != 1 {
		t.Errorf("%d keepalives wait, want 1", n)
	}
	l, a, b = pair(t, 1)
	a.greet(b)
	a.send(b)
	a.greet(b)
	l.run(0)
	a.expect("the keepalive, and the data behind it", "0s initiation", "0s keepalive", "0s data")
}

// TestStagedWhenTheCounterEnds: what does not fit into the old session any
// more waits for the new one, in order.
func TestStagedWhenTheCounterEnds(t *testing.T) {
	l, a, b := met(t, 1)
	l.run(10 * time.Second)
	var got []uint64
	l.watch.onPacket = func(id uint64) { got = append(got, id) }
	a.peer(b).current.Load().counter.Store(RejectAfterMessages - 2)
	first := l.watch.ids + 1
	for range 5 {
		a.send(b)
	}
	l.run(l.now)
	if want := []uint64{first, first + 1, first + 2, first + 3, first + 4}; !slices.Equal(got, want) {
		t.Errorf("packets %v, want %v", got, want)
	}
	a.expect("the last two nonces, and a new session", "10s data", "10s initiation", "10s data", "10s data", "10s data", "10s data")
}
