package handshake

import (
	"errors"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// TestLowOrder puts each low-order key, as it is and with the bit set that
// X25519 ignores, into every place that a Diffie-Hellman takes one from: es,
// ss, ee and se, as initiator and as responder.
func TestLowOrder(t *testing.T) {
	for _, text := range lowOrder {
		low, err := key.ParsePublic(text)
		if err != nil {
			t.Fatal(err)
		}
		high := low.Bytes()
		high[31] |= 0x80
		for _, low := range []key.Public{low, key.PublicFrom(high)} {
			t.Run(low.Short(), func(t *testing.T) {
				testLowOrderInitiator(t, low)
				testLowOrderResponder(t, low)
			})
		}
	}
}

func refused(t *testing.T, place string, err error) {
	t.Helper()
	if !errors.Is(err, key.ErrLowOrder) {
		t.Errorf("%s: %v, want ErrLowOrder", place, err)
	}
}

func testLowOrderInitiator(t *testing.T, low key.Public) {
	p := newPair(t, 10)
	remote := NewRemote(p.alice.id, low)
	if remote.Public() != low {
		t.Error("the peer was not kept")
	}
	i, m, err := Initiate(p.alice.id, remote, aliceIndex, Timestamp{1}, p.private())
	refused(t, "es of the initiator", err)
	if i != nil || m != (message.Initiation{}) {
		t.Error("es of the initiator: a message came out")
	}
	_, err = new(state).mixStatic(remote)
	refused(t, "ss of the initiator", err)

	// One key serves for ee and se: the responder's ephemeral one.
	i, initiation := p.initiate()
	response, bobs := p.respond(&initiation, nil)
	bad := response
	bad.Ephemeral = low.Bytes()
	keys, err := i.Finish(p.alice.id, nil, &bad)
	refused(t, "ee of the initiator", err)
	if keys != (Keys{}) {
		t.Error("ee of the initiator: keys came out")
	}
	_, err = new(state).mixDH(p.alice.id.private, low)
	refused(t, "se of the initiator", err)
	if keys, err := i.Finish(p.alice.id, nil, &response); err != nil || !mirrored(keys, bobs) {
		t.Errorf("true response after the low-order one: %v", err)
	}
}

func testLowOrderResponder(t *testing.T, low key.Public) {
	p := newPair(t, 11)
	_, initiation := p.initiate()
	bad := initiation
	bad.Ephemeral = low.Bytes()
	_, err := Receive(p.bob.id, &bad)
	refused(t, "es of the responder", err)

	// Whoever claims a low-order static key knows the shared secret: zero.
	claimer := &Identity{public: low}
	zero := &Remote{public: p.bob.id.Public()}
	_, forged, err := Initiate(claimer, zero, 7, Timestamp{1}, p.private())
	if err != nil {
		t.Fatal(err)
	}
	r, err := Receive(p.bob.id, &forged)
	if err != nil || r.Static() != low {
		t.Fatalf("low-order claim: %v", err)
	}
	ts, err := r.Authenticate(NewRemote(p.bob.id, low))
	refused(t, "ss of the responder", err)
	if ts != (Timestamp{}) {
		t.Error("ss of the responder: a timestamp came out")
	}

	// The checks before keep such keys from the last two; they check too.
	r = p.receive(&initiation)
	r.initiation.Ephemeral = low.Bytes()
	m, keys, err := r.Respond(p.bob.remote, nil, bobIndex, p.private())
	refused(t, "ee of the responder", err)
	if m != (message.Response{}) || keys != (Keys{}) {
		t.Error("ee of the responder: a message or keys came out")
	}
	r = p.receive(&initiation)
	r.static = low
	m, keys, err = r.Respond(NewRemote(p.bob.id, low), nil, bobIndex, p.private())
	refused(t, "se of the responder", err)
	if m != (message.Response{}) || keys != (Keys{}) {
		t.Error("se of the responder: a message or keys came out")
	}
}
