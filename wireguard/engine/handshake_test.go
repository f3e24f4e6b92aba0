package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// TestRoundTrip: data flows both ways, whoever begins, with and without a
// preshared key, IPv4 and IPv6 inside.
func TestRoundTrip(t *testing.T) {
	for _, psk := range []byte{0, 7} {
		for _, swap := range []bool{false, true} {
			t.Run(fmt.Sprintf("preshared %t, second begins %t", psk != 0, swap), func(t *testing.T) {
				l, a, b := pair(t, 1)
				if psk != 0 {
					a.knows(b, preshared(psk))
					b.knows(a, preshared(psk))
				}
				if swap {
					a, b = b, a
				}
				a.send(b)
				l.run(0)
				b.send(a)
				a.sendPacket(packet6(a.ip6(), b.ip6(), 1280, l.watch.id()))
				b.sendPacket(packet6(b.ip6(), a.ip6(), 60, l.watch.id()))
				l.run(0)
				a.expect("what is staged confirms the session", "0s initiation", "0s data", "0s data")
				b.expect("one handshake is enough", "0s response", "0s data", "0s data")
				a.expectDelivered(b, 2)
				b.expectDelivered(a, 2)
				a.expectEvents("both are told, the initiator first", "0s attempt 1", "0s handshake")
				b.expectEvents("both are told, the responder when it is confirmed", "0s handshake")
			})
		}
	}
}

// TestPresharedMismatch: with different preshared keys nothing works, and
// nobody says so.
func TestPresharedMismatch(t *testing.T) {
	for _, tt := range []struct {
		name string
		a, b byte
	}{
		{"only the initiator has one", 1, 0},
		{"only the responder has one", 0, 1},
		{"two different ones", 1, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, a, b := steady(t, 0)
			a.knows(b, preshared(tt.a))
			b.knows(a, preshared(tt.b))
			a.send(b)
			l.run(6 * time.Second)
			a.expect("tries again", "0s initiation", "5s initiation")
			b.expect("answers: the key is only in the response", "0s response", "5s response")
			a.expectDrops(DropInvalid, 2)
			b.expectDelivered(a, 0)
		})
	}
}

// TestInitiatorConfirmsAtOnce: with nothing else to send it sends a keepalive.
func TestInitiatorConfirmsAtOnce(t *testing.T) {
	l, a, b := pair(t, 1)
	a.greet(b)
	l.run(0)
	a.expect("a keepalive", "0s initiation", "0s keepalive")
	if b.peer(a).SendKey(0) == nil {
		t.Error("the responder may not send yet")
	}
}

// forgedResponse is a response with a right index and a valid mac1 that was
// made without the keys.
func forgedResponse(initiator *node, to *message.Initiation) []byte {
	m := message.Response{Sender: 99, Receiver: to.Sender, Ephemeral: [32]byte{9}}
	b := make([]byte, message.ResponseSize)
	m.Put(b)
	id := handshake.NewIdentity(key.PrivateFrom([32]byte{1}))
	new(handshake.Signer).Sign(0, handshake.NewRemote(id, initiator.key.Public()), b)
	return b
}

// TestForgedResponseRace is row W12 of the faults: a forged response that
// comes first must not take the place of the true one.
func TestForgedResponseRace(t *testing.T) {
	for seed := range uint64(100) {
		l, a, b := pair(t, seed)
		l.hold()
		a.send(b)
		initiation, ok := message.ParseInitiation(a.sent[0].msg)
		if !ok {
			t.Fatal("no initiation")
		}
		l.pass(a, "initiation")
		a.receive(Endpoint{Addr: b.addr}, forgedResponse(a, &initiation))
		a.expectDrops(DropInvalid, 1)
		l.pass(b, "response")
		l.pass(a, "data")
		b.expectDelivered(a, 1)
	}
}

// TestResponseTwice: the second copy finds nothing that waits for it, and the
// session that the first one made goes on.
func TestResponseTwice(t *testing.T) {
	l, a, b := pair(t, 1)
	l.hold()
	a.send(b)
	l.pass(a, "initiation")
	response := l.take(b, "response")
	l.hand(response)
	session := a.peer(b).current.Load()
	l.hand(response)
	a.expectDrops(DropState, 1)
	if a.peer(b).current.Load() != session {
		t.Error("the copy changed the session")
	}
}

// TestLateResponse: the initiation before the newest can still be answered,
// for 10.666 s, so that a round trip of more than 5 s does not keep two hosts
// apart for ever.
func TestLateResponse(t *testing.T) {
	t.Run("in time", func(t *testing.T) {
		l, a, b := steady(t, 0)
		l.hold()
		a.send(b)
		l.pass(a, "initiation")
		first := l.take(b, "response")
		l.run(5 * time.Second)
		l.pass(a, "initiation")
		second := l.take(b, "response")
		l.run(9 * time.Second)
		l.hand(first)
		a.expect("the session is used", "0s initiation", "5s initiation", "9s data")
		l.run(12 * time.Second)
		a.expect("and nothing is retransmitted")
		l.hand(second)
		a.expect("b has given the first session up for this one", "12s keepalive")
		l.pass(a, "keepalive")
		a.send(b)
		l.pass(a, "data") // of the first session
		l.pass(a, "data")
		b.expectDelivered(a, 1)
		b.expectDrops(DropFind, 1)
	})
	t.Run("too late", func(t *testing.T) {
		l, a, b := steady(t, maxJitter)
		l.hold()
		a.send(b)
		l.pass(a, "initiation")
		first := l.take(b, "response")
		l.run(10*time.Second + 666*time.Millisecond) // the third initiation leaves
		l.hand(first)
		a.expectDrops(DropState, 1)
		a.expectInitiations("one after the other", 0, 5333*time.Millisecond, 10666*time.Millisecond)
	})
	t.Run("of the last of all", func(t *testing.T) {
		for _, late := range []time.Duration{0, 1} {
			l, a, b := steady(t, maxJitter)
			l.hold()
			a.send(b)
			last := 19 * (RekeyTimeout + maxJitter)
			l.run(last)
			l.held = l.held[19:]
			l.pass(a, "initiation")
			l.run(last + 2*(RekeyTimeout+maxJitter) + late)
			l.pass(b, "response")
			if made := a.peer(b).current.Load() != nil; made != (late == 0) {
				t.Errorf("answered %v late: session %t", late, made)
			}
		}
	})
	t.Run("a round trip of 10 s", func(t *testing.T) {
		for seed := range uint64(20) {
			l, a, b := pair(t, seed)
			l.carry = func(d datagram) { l.arrive(d, 5*time.Second) }
			for range 90 {
				a.send(b)
				l.run(l.now + time.Second)
				b.send(a)
			}
			// What was sent from 16 to 84 s must have arrived by now.
			if b.delivered[a] < 69 || a.delivered[b] < 69 {
				t.Errorf("seed %d: %d and %d of 90 packets arrived", seed, b.delivered[a], a.delivered[b])
			}
		}
	})
}

// TestUnknownInitiator: a stranger's initiation is dropped without a word.
func TestUnknownInitiator(t *testing.T) {
	l := newLab(t, 1)
	a, b := l.add(Config{}), l.add(Config{})
	a.knows(b)
	a.send(b)
	l.run(0)
	b.expect("silence")
	b.expectDrops(DropUnknownPeer, 1)
}

// TestNoIdentity: without a private key nothing is sent and nothing accepted;
// what waits leaves when there is one.
func TestNoIdentity(t *testing.T) {
	l, a, b := pair(t, 1)
	own := a.key
	a.apply(Change{PrivateKey: &key.Private{}})
	a.send(b)
	b.send(a)
	l.run(time.Second)
	a.expect("no key, no message")
	a.expectDrops(DropMAC1, 1)
	a.apply(Change{PrivateKey: &own})
	l.run(time.Second)
	b.expectDelivered(a, 1)
}
