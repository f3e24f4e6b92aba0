package handshake

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

func TestRoundTrip(t *testing.T) {
	p := newPair(t, 1)
	psk, none := p.preshared(), key.Preshared{}
	seen := map[Keys]bool{}
	for _, tt := range []struct {
		name       string
		alice, bob *key.Preshared
	}{
		{"no preshared key", nil, nil},
		{"nil is the zero preshared key", nil, &none},
		{"the zero preshared key is nil", &none, nil},
		{"preshared key", &psk, &psk},
		{"the same again", &psk, &psk},
	} {
		i, initiation := p.initiate()
		response, bobs, err := p.receive(&initiation).Respond(p.bob.remote, tt.bob, bobIndex, p.private())
		if err != nil {
			t.Fatalf("%s: Respond: %v", tt.name, err)
		}
		if response.Sender != bobIndex || response.Receiver != aliceIndex {
			t.Errorf("%s: response from %#x to %#x", tt.name, response.Sender, response.Receiver)
		}
		alices, err := i.Finish(p.alice.id, tt.alice, &response)
		if err != nil {
			t.Fatalf("%s: Finish: %v", tt.name, err)
		}
		if !mirrored(alices, bobs) {
			t.Errorf("%s: the keys of the two sides differ", tt.name)
		}
		if seen[alices] {
			t.Errorf("%s: keys came twice", tt.name)
		}
		seen[alices] = true
	}
}

// TestPresharedMismatch fails at the initiator alone and leaves it ready for
// the right response.
func TestPresharedMismatch(t *testing.T) {
	p := newPair(t, 2)
	one, other := p.preshared(), p.preshared()
	for _, tt := range []struct {
		name       string
		alice, bob *key.Preshared
	}{
		{"different keys", &one, &other},
		{"initiator alone", &one, nil},
		{"responder alone", nil, &one},
	} {
		i, initiation := p.initiate()
		wrong, _ := p.respond(&initiation, tt.bob)
		keys, err := i.Finish(p.alice.id, tt.alice, &wrong)
		if !errors.Is(err, ErrAuthentication) || keys != (Keys{}) {
			t.Errorf("%s: %v, want ErrAuthentication and no keys", tt.name, err)
		}
		right, bobs := p.respond(&initiation, tt.alice)
		if keys, err := i.Finish(p.alice.id, tt.alice, &right); err != nil || !mirrored(keys, bobs) {
			t.Errorf("%s: right response after the wrong one: %v", tt.name, err)
		}
	}
}

// TestW12 races a garbage response, with the right index and a valid mac1,
// before the true one: a hundred handshakes of a hundred complete.
func TestW12(t *testing.T) {
	const seed = 3
	p := newPair(t, seed)
	for n := range 100 {
		i, initiation := p.initiate()
		response, bobs := p.respond(&initiation, nil)

		garbage := message.Response{Sender: response.Sender, Receiver: response.Receiver}
		p.random.Read(garbage.Ephemeral[:])
		p.random.Read(garbage.Empty[:])
		if !p.alice.id.CheckMAC1(p.signedResponse(&garbage)) {
			t.Fatal("the garbage has no valid mac1")
		}
		if _, err := i.Finish(p.alice.id, nil, &garbage); !errors.Is(err, ErrAuthentication) {
			t.Fatalf("seed %d, handshake %d: garbage: %v", seed, n, err)
		}
		if keys, err := i.Finish(p.alice.id, nil, &response); err != nil || !mirrored(keys, bobs) {
			t.Fatalf("seed %d, handshake %d: the true response: %v", seed, n, err)
		}
	}
}

// TestStrangers fails where the keys are not those of the two who speak.
func TestStrangers(t *testing.T) {
	p, q := newPair(t, 4), newPair(t, 5)
	_, initiation := p.initiate()
	if _, err := Receive(q.bob.id, &initiation); !errors.Is(err, ErrAuthentication) {
		t.Errorf("initiation for another host: %v", err)
	}

	// Mallory knows both public keys and claims alice's.
	mallory := NewIdentity(p.private())
	toBob := NewRemote(mallory, p.bob.id.Public())
	asMallory := NewRemote(p.bob.id, mallory.Public())
	mallory.public = p.alice.id.Public()
	_, forged, err := Initiate(mallory, toBob, 7, Timestamp{1}, p.private())
	if err != nil {
		t.Fatal(err)
	}
	r, err := Receive(p.bob.id, &forged)
	if err != nil || r.Static() != p.alice.id.Public() {
		t.Fatalf("forged initiation: %v, want it to come as far as the claim", err)
	}
	if ts, err := r.Authenticate(p.bob.remote); !errors.Is(err, ErrAuthentication) || ts != (Timestamp{}) {
		t.Errorf("forged initiation: timestamp %x, %v", ts, err)
	}
	if ts, err := r.Authenticate(asMallory); !errors.Is(err, errOrder) || ts != (Timestamp{}) {
		t.Errorf("forged initiation as its true sender's: timestamp %x, %v", ts, err)
	}
	if _, keys, err := r.Respond(p.bob.remote, nil, bobIndex, p.private()); err == nil || keys != (Keys{}) {
		t.Error("a forged initiation was answered")
	}

	// Who has bob's public key alone can't answer for him.
	i, initiation := p.initiate()
	impostor := Responder{state: i.state, initiation: initiation, static: p.alice.id.Public(), authenticated: true}
	impostor.state.chain = [32]byte{} // It can't know this.
	response, _, err := impostor.Respond(p.bob.remote, nil, bobIndex, p.private())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.Finish(p.alice.id, nil, &response); !errors.Is(err, ErrAuthentication) {
		t.Errorf("forged response: %v", err)
	}
}

// TestOrder takes the steps out of order or twice, and with the wrong peer.
func TestOrder(t *testing.T) {
	p, q := newPair(t, 6), newPair(t, 7)
	i, initiation := p.initiate()
	r, err := Receive(p.bob.id, &initiation)
	if err != nil {
		t.Fatal(err)
	}
	respond := func(remote *Remote) (message.Response, Keys, error) {
		return r.Respond(remote, nil, bobIndex, p.private())
	}
	outOfOrder := func(step string, err error) {
		t.Helper()
		if !errors.Is(err, errOrder) {
			t.Errorf("%s: %v", step, err)
		}
	}
	_, _, err = respond(p.bob.remote)
	outOfOrder("Respond before Authenticate", err)
	_, err = r.Authenticate(q.bob.remote)
	outOfOrder("Authenticate as another peer", err)
	if _, err := r.Authenticate(p.bob.remote); err != nil {
		t.Errorf("Authenticate: %v", err)
	}
	_, err = r.Authenticate(p.bob.remote)
	outOfOrder("Authenticate twice", err)
	_, _, err = respond(q.bob.remote)
	outOfOrder("Respond to another peer", err)
	response, _, err := respond(p.bob.remote)
	if err != nil {
		t.Errorf("Respond: %v", err)
	}
	_, _, err = respond(p.bob.remote)
	outOfOrder("Respond twice", err)
	if _, err := i.Finish(p.alice.id, nil, &response); err != nil {
		t.Errorf("Finish: %v", err)
	}
	if _, err := i.Finish(p.alice.id, nil, &response); err == nil {
		t.Error("Finish twice")
	}
}

// TestWipe finds nothing left of a handshake that is given up or done, and has
// it fail from then on.
func TestWipe(t *testing.T) {
	p := newPair(t, 8)
	i, initiation := p.initiate()
	response, keys := p.respond(&initiation, nil)
	i.Wipe()
	if i.state != (state{}) || !i.ephemeral.IsZero() {
		t.Error("Initiator.Wipe left secrets")
	}
	if _, err := i.Finish(p.alice.id, nil, &response); err == nil {
		t.Error("Finish after Wipe")
	}

	r := p.receive(&initiation)
	r.Wipe()
	if *r != (Responder{}) {
		t.Error("Responder.Wipe left something")
	}
	if _, _, err := r.Respond(p.bob.remote, nil, bobIndex, p.private()); err == nil {
		t.Error("Respond after Wipe")
	}

	keys.Wipe()
	if keys != (Keys{}) {
		t.Error("Keys.Wipe left keys")
	}

	p.alice.remote.Wipe()
	if p.alice.remote.shared != [32]byte{} {
		t.Error("Remote.Wipe left the shared secret")
	}
	if _, _, err := Initiate(p.alice.id, p.alice.remote, 1, Timestamp{}, p.private()); err == nil {
		t.Error("Initiate to a wiped peer")
	}

	p.bob.id.Wipe()
	if _, err := Receive(p.bob.id, &initiation); err == nil {
		t.Error("Receive with a wiped identity")
	}
}

// TestNoPrivateKey sends and takes nothing without an identity.
func TestNoPrivateKey(t *testing.T) {
	p := newPair(t, 9)
	nobody := NewIdentity(key.Private{})
	remote := NewRemote(nobody, p.bob.id.Public())
	if i, m, err := Initiate(nobody, remote, 1, Timestamp{}, p.private()); err == nil || i != nil || m != (message.Initiation{}) {
		t.Error("Initiate without a private key")
	}
	if _, _, err := Initiate(p.alice.id, p.alice.remote, 1, Timestamp{}, key.Private{}); err == nil {
		t.Error("Initiate without an ephemeral key")
	}
	_, initiation := p.initiate()
	if _, err := Receive(nobody, &initiation); err == nil {
		t.Error("Receive without a private key")
	}
	if _, _, err := p.receive(&initiation).Respond(p.bob.remote, nil, 1, key.Private{}); err == nil {
		t.Error("Respond without an ephemeral key")
	}
}

func TestKeysAreNotPrinted(t *testing.T) {
	keys := Keys{Send: [32]byte{200, 201, 202}, Receive: [32]byte{203, 204, 205}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, keys); got != "(session keys)" {
			t.Errorf("%s prints %q", verb, got)
		}
		if got := fmt.Sprintf(verb, struct{ K *Keys }{&keys}); strings.Contains(got, "200") || strings.Contains(got, "c8c9") {
			t.Errorf("%s of a pointer prints %q", verb, got)
		}
	}
}
