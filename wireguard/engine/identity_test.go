package engine

import (
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// TestPresharedChange: a new preshared key is for the next handshake; the
// session goes on.
func TestPresharedChange(t *testing.T) {
	l, a, b := met(t, 1)
	session := a.peer(b).current.Load()
	a.knows(b, preshared(9))
	a.send(b)
	b.send(a)
	l.run(time.Second)
	a.expectDelivered(b, 1)
	b.expectDelivered(a, 1)
	if a.peer(b).current.Load() != session {
		t.Error("the session changed")
	}
	a.expectInitiations("no new handshake")

	l.run(RekeyAfterTime)
	a.send(b)
	l.run(l.now + time.Second)
	a.expectDrops(DropInvalid, 1)
	if a.peer(b).current.Load() != session {
		t.Error("a handshake went through with two different preshared keys")
	}
	b.knows(a, preshared(9))
	l.run(l.now + 6*time.Second)
	if k := a.peer(b).current.Load(); k == session || k != b.sessionAtOther(a) {
		t.Error("no handshake with the new key on both sides")
	}

	a.knows(b, preshared(0))
	b.knows(a, preshared(0))
	l.run(l.now + RejectAfterTime)
	a.send(b)
	l.run(l.now)
	b.expectDelivered(a, 3)
}

// TestPrivateKeyChange: there is a new handshake at once, whenever the last
// was; until then what the peer sends with the old session is still accepted,
// and nothing is sent with it.
func TestPrivateKeyChange(t *testing.T) {
	for _, responder := range []bool{false, true} {
		l, a, b := met(t, 1)
		if responder {
			a, b = b, a
		}
		l.run(time.Second)
		fresh := key.PrivateFrom([32]byte{1, 2, 3})
		old, was := a.peer(b).current.Load(), a.key
		l.carry = func(d datagram) {
			if kind(d.msg) != "initiation" || l.hosts[d.from] == a {
				l.arrive(d, 0)
			}
		}
		a.apply(Change{PrivateKey: &fresh})
		a.expect("at once, 1 s after the last handshake", "1s initiation")
		l.run(l.now)
		b.expectDrops(DropUnknownPeer, 1)

		b.send(a) // with the old session
		l.run(l.now)
		a.expectDropsOnly()
		if got := a.peer(b).received.Load(); got == 0 || old.counter.Load() > 1 {
			t.Error("the old session does not receive, or still sends")
		}
		a.send(b)
		a.expect("data waits for the new session")

		// The other side learns the new key.
		old2 := PeerChange{PublicKey: was.Public(), Remove: true}
		b.apply(Change{Peers: []PeerChange{old2, b.change(a)}})
		l.run(l.now + RekeyTimeout + maxJitter)
		b.expectDelivered(a, 1)
		b.send(a)
		l.run(l.now)
		if a.delivered[b] != 2 {
			t.Errorf("%d packets of the other side arrived, want 2", a.delivered[b])
		}
	}
}

// expectDropsOnly wants no message to have been refused.
func (n *node) expectDropsOnly(allowed ...Drop) {
	n.Helper()
	drops := n.engine.Drops()
	for _, why := range allowed {
		drops[why] = 0
	}
	for why, count := range drops {
		if count > 0 {
			n.Fatalf("node %d at %v: %d drops for %v", n.number, n.now, count, Drop(why))
		}
	}
}

// TestPrivateKeyUnchanged: the same key again changes nothing.
func TestPrivateKeyUnchanged(t *testing.T) {
	l, a, b := met(t, 1)
	same := a.key
	a.apply(Change{PrivateKey: &same})
	a.expect("no handshake")
	a.send(b)
	l.run(0)
	b.expectDelivered(a, 1)
	a.expectInitiations("nor later")
}

// TestPrivateKeyRemoved: without a key, sessions receive and do not send.
func TestPrivateKeyRemoved(t *testing.T) {
	l, a, b := met(t, 1)
	own := a.key
	a.engine.Apply(a.time(), Change{PrivateKey: &key.Private{}}, &a.out)
	a.settle()
	a.send(b)
	b.send(a)
	l.run(time.Minute)
	a.expectDelivered(b, 1)
	b.expectDelivered(a, 0)
	a.apply(Change{PrivateKey: &own})
	l.run(l.now)
	b.expectDelivered(a, 1)
}

// TestOwnKeyPeer: a peer with our own public key is ignored, and goes when our
// key becomes its.
func TestOwnKeyPeer(t *testing.T) {
	_, a, b := met(t, 1)
	own := a.change(a)
	a.apply(Change{Peers: []PeerChange{own}})
	if a.engine.Peer(a.key.Public()) != nil || a.engine.Route(a.ip4()) != nil {
		t.Error("a peer with our own key was made")
	}
	theirs := b.key
	before := a.engine.indices.size()
	a.engine.Apply(a.time(), Change{PrivateKey: &theirs}, &a.out)
	a.settle()
	a.key = theirs
	if before == 0 || a.engine.indices.size() != 0 || a.engine.Peer(theirs.Public()) != nil || a.engine.Route(b.ip4()) != nil {
		t.Error("the peer whose key we took is not gone with all that it had")
	}
	a.expect("silence")
}

// TestPrivateKeyChangeWithoutNeed: a peer that had no session, nothing to send
// and no keepalive is not greeted.
func TestPrivateKeyChangeWithoutNeed(t *testing.T) {
	l, a, b := pair(t, 1)
	quiet := l.add(Config{})
	a.knows(quiet)
	a.send(b)
	l.run(0)
	a.trace = nil
	fresh := key.PrivateFrom([32]byte{1, 2, 3})
	a.apply(Change{PrivateKey: &fresh})
	a.expect("one initiation, to the one with a session", "0s initiation")
	if to := a.sent[len(a.sent)-1].to; to != b.addr {
		t.Errorf("it went to %v, want %v", to, b.addr)
	}
}
