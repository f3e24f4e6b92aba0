package engine

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// expectBytes compares the counters that n shows for m.
func (n *node) expectBytes(m *node, sent, received uint64) {
	n.Helper()
	if p := n.snapshotOf(m); p.Sent != sent || p.Received != received {
		n.Errorf("node %d at %v: sent %d, received %d, want %d and %d", n.number, n.now, p.Sent, p.Received, sent, received)
	}
}

// snapshotOf is how n's snapshot shows m.
func (n *node) snapshotOf(m *node) PeerSnapshot {
	n.Helper()
	for _, p := range n.engine.Snapshot().Peers {
		if p.PublicKey == m.key.Public() {
			return p
		}
	}
	n.Fatalf("node %d does not show node %d", n.number, m.number)
	return PeerSnapshot{}
}

// TestCountersOfTenPings are the kernel's figures (netns.sh): ten pings of 84
// bytes and their answers are 1428 bytes one way and 1372 the other.
func TestCountersOfTenPings(t *testing.T) {
	l, a, b := pair(t, 1)
	for range 10 {
		a.sendPacket(packet4(a.ip4(), b.ip4(), 84, l.watch.id()))
		l.run(l.now)
		b.sendPacket(packet4(b.ip4(), a.ip4(), 84, l.watch.id()))
		l.run(l.now)
	}
	a.expectBytes(b, 1428, 1372)
	b.expectBytes(a, 1372, 1428)

	l.run(20 * time.Second) // a was answered last, and says so after 10 s
	a.expectBytes(b, 1460, 1372)
	b.expectBytes(a, 1372, 1460)
}

// TestCountersCountWhatIsAuthentic: what is refused counts for nobody, what is
// sent counts whether it arrives or not, and handshakes count.
func TestCountersCountWhatIsAuthentic(t *testing.T) {
	l, a, b := met(t, 1)
	a.expectBytes(b, 148+32, 92)
	b.expectBytes(a, 92, 148+32)
	a.send(b)
	l.run(0)
	b.expectBytes(a, 92, 148+32+64)

	b.receive(Endpoint{Addr: a.addr}, clone(a.sent[len(a.sent)-1].msg))            // a replay
	a.sendPacketTo(b, packet4(b.ip4(), b.ip4(), 28, l.watch.id()))                 // not a's source
	b.receive(Endpoint{Addr: a.addr}, append(clone(a.sent[len(a.sent)-1].msg), 0)) // forged
	l.run(0)
	b.expectBytes(a, 92, 148+32+64)
	a.expectBytes(b, 148+32+64+64, 92)

	l.run(RejectAfterTime)
	l.carry = lose
	a.trace = nil
	a.send(b)
	l.run(l.now + 5*time.Second + maxJitter)
	a.expectBytes(b, 148+32+64+64+2*148, 92+32) // b's passive keepalive
}

// TestCountersAre64Bits: they go on beyond 2^32.
func TestCountersAre64Bits(t *testing.T) {
	_, a, b := met(t, 1)
	p := a.peer(b)
	p.sent.Store(1<<32 - 1)
	p.received.Store(1<<32 - 1)
	p.Sent(a.time(), p.current.Load(), 2, &a.out)
	if a.engine.Police(p, packet4(b.ip4(), a.ip4(), 28, 1)) == nil {
		t.Fatal("refused")
	}
	a.settle()
	a.expectBytes(b, 1<<32+1, 1<<32-1+32+28)
}

// TestSnapshot shows what there is, in a fixed order, and no secret.
func TestSnapshot(t *testing.T) {
	l, a, b := pair(t, 1)
	c := l.add(Config{})
	a.knows(b, preshared(7), keepalive(25*time.Second))
	a.knows(c, nowhere)
	l.run(3 * time.Second)
	s := a.engine.Snapshot()
	if s.PublicKey != a.key.Public() || len(s.Peers) != 2 {
		t.Fatalf("snapshot %+v", s)
	}
	if p := a.snapshotOf(c); p.Endpoint.IsValid() || !p.LastHandshake.IsZero() || p.HasPreshared || p.Keepalive != 0 || p.Sent != 0 {
		t.Errorf("a peer that was never heard: %+v", p)
	}
	if p := a.snapshotOf(b); !p.HasPreshared || p.Endpoint != b.addr || p.Keepalive != 25*time.Second || len(p.AllowedIPs) != 2 ||
		!p.LastHandshake.IsZero() {
		t.Errorf("a peer with another preshared key: %+v", p)
	}

	b.knows(a, preshared(7))
	l.run(10 * time.Second)
	first := epoch.Add(RekeyTimeout) // the retransmission
	if p := a.snapshotOf(b); p.LastHandshake.Before(first) || p.LastHandshake.After(first.Add(maxJitter)) {
		t.Errorf("last handshake at %v, want %v and up to %v more", p.LastHandshake, first, maxJitter)
	}
	for range 10 {
		a.knows(l.add(Config{}))
	}
	if s := a.engine.Snapshot(); len(s.Peers) != 12 || !slices.IsSortedFunc(s.Peers, func(p, q PeerSnapshot) int {
		return strings.Compare(p.PublicKey.String(), q.PublicKey.String())
	}) {
		t.Error("peers are not in the order of their keys")
	}
	if !New(Config{}).Snapshot().PublicKey.IsZero() {
		t.Error("an engine without a key shows one")
	}
}

// TestDropNames: each reason has a name of its own, and what is no reason has
// none.
func TestDropNames(t *testing.T) {
	seen := map[string]bool{}
	for d := range dropReasons {
		name := d.String()
		if name == "" || name == "unknown" || seen[name] {
			t.Errorf("reason %d has the name %q", d, name)
		}
		seen[name] = true
	}
	if dropReasons.String() != "unknown" {
		t.Errorf("no reason has the name %q", dropReasons)
	}
}
