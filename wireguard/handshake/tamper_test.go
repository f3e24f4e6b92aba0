package handshake

import (
	"bytes"
	"net/netip"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// eachFlip calls check for every bit of msg with that bit flipped; at is the
// place of its byte.
func eachFlip(msg []byte, check func(at int, flipped []byte)) {
	for bit := range 8 * len(msg) {
		flipped := bytes.Clone(msg)
		flipped[bit/8] ^= 1 << (bit % 8)
		check(bit/8, flipped)
	}
}

// TestFlippedBitsMAC finds each flipped bit of an initiation and of a response
// before any Diffie-Hellman: the verdicts come from an identity whose private
// key is gone.
func TestFlippedBitsMAC(t *testing.T) {
	p := newPair(t, 13)
	from := netip.MustParseAddrPort("192.0.2.1:51820")
	i, initiation := p.initiate()
	response, _ := p.respond(&initiation, nil)
	i.Wipe()
	p.alice.id.Wipe()
	p.bob.id.Wipe()

	check := func(receiver *Identity, sender *side, msg []byte) {
		t.Helper()
		var cookies Cookies
		reply, err := cookies.Reply(0, receiver, from, msg, p.random)
		if err != nil || !sender.signer.Accept(0, sender.remote, &reply) {
			t.Fatalf("cookie reply: %v", err)
		}
		sender.signer.Sign(0, sender.remote, msg)
		if !receiver.CheckMAC1(msg) || !cookies.CheckMAC2(0, from, msg) {
			t.Fatal("the true message is refused")
		}
		eachFlip(msg, func(at int, flipped []byte) {
			inMAC2 := at >= len(msg)-message.MACSize
			if receiver.CheckMAC1(flipped) != inMAC2 {
				t.Errorf("message of %d bytes, flip in byte %d: mac1 %t", len(msg), at, !inMAC2)
			}
			if cookies.CheckMAC2(0, from, flipped) {
				t.Errorf("message of %d bytes, flip in byte %d: mac2 is valid", len(msg), at)
			}
			if _, ok := message.Classify(flipped); ok != (at >= 4) {
				t.Errorf("message of %d bytes, flip in byte %d: classified %t", len(msg), at, ok)
			}
		})
	}
	check(p.bob.id, &p.alice, p.signedInitiation(&initiation))
	check(p.alice.id, &p.bob, p.signedResponse(&response))
}

// TestFlippedBitsInitiation flips bits as one can who makes a new mac1, for
// which our public key is enough. Only the sender index is covered by the MACs
// alone; a wrong one leads the response astray.
func TestFlippedBitsInitiation(t *testing.T) {
	p := newPair(t, 14)
	_, initiation := p.initiate()
	eachFlip(p.signedInitiation(&initiation), func(at int, flipped []byte) {
		m, ok := message.ParseInitiation(flipped)
		if !ok || at < 8 || at >= 116 {
			return
		}
		r, err := Receive(p.bob.id, &m)
		if (err != nil) != (at < 88) {
			t.Errorf("flip in byte %d: Receive: %v", at, err)
		}
		if err != nil {
			return
		}
		if ts, err := r.Authenticate(p.bob.remote); err == nil || ts != (Timestamp{}) {
			t.Errorf("flip in byte %d: authenticated", at)
		}
		r.initiation = initiation
		if _, err := r.Authenticate(p.bob.remote); err != nil {
			t.Errorf("flip in byte %d: the failure left a trace: %v", at, err)
		}
	})
}

// TestFlippedBitsResponse flips bits as one can who makes a new mac1. Only the
// indices are covered by the MACs alone.
func TestFlippedBitsResponse(t *testing.T) {
	p := newPair(t, 15)
	psk := p.preshared()
	i, initiation := p.initiate()
	response, bobs := p.respond(&initiation, &psk)
	eachFlip(p.signedResponse(&response), func(at int, flipped []byte) {
		m, ok := message.ParseResponse(flipped)
		if !ok || at < 12 || at >= 60 {
			return
		}
		if keys, err := i.Finish(p.alice.id, &psk, &m); err == nil || keys != (Keys{}) {
			t.Errorf("flip in byte %d: accepted", at)
		}
	})
	if keys, err := i.Finish(p.alice.id, &psk, &response); err != nil || !mirrored(keys, bobs) {
		t.Errorf("the true response after all the others: %v", err)
	}
}

// TestFlippedBitsCookieReply refuses all; the receiver index, which nothing
// covers, does not lead to the handshake.
func TestFlippedBitsCookieReply(t *testing.T) {
	p := newPair(t, 16)
	_, initiation := p.initiate()
	msg := p.signedInitiation(&initiation)
	reply, err := new(Cookies).Reply(0, p.bob.id, netip.MustParseAddrPort("192.0.2.1:51820"), msg, p.random)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, message.CookieReplySize)
	reply.Put(b)
	eachFlip(b, func(at int, flipped []byte) {
		m, ok := message.ParseCookieReply(flipped)
		if ok && m.Receiver == aliceIndex && p.alice.signer.Accept(0, p.alice.remote, &m) {
			t.Errorf("flip in byte %d: accepted", at)
		}
	})
	if !p.alice.signer.Accept(0, p.alice.remote, &reply) {
		t.Error("the true reply is refused after all the others")
	}
}

// TestFlippedBitsData opens no data message with a flipped bit; the receiver
// index, which nothing covers, does not lead to the session.
func TestFlippedBitsData(t *testing.T) {
	p := newPair(t, 17)
	_, initiation := p.initiate()
	_, keys := p.respond(&initiation, nil)
	aead, err := chacha20poly1305.New(keys.Receive[:])
	if err != nil {
		t.Fatal(err)
	}
	nonceOf := func(b []byte) []byte { return append(make([]byte, 4), b[8:16]...) }
	opens := func(b []byte) bool {
		if kind, ok := message.Classify(b); !ok || kind != message.TypeData || message.DataReceiver(b) != bobIndex {
			return false
		}
		_, err := aead.Open(nil, nonceOf(b), b[message.DataHeaderSize:], nil)
		return err == nil
	}
	header := make([]byte, message.DataHeaderSize)
	message.PutDataHeader(header, bobIndex, 0x1122334455667788)
	for _, size := range []int{0, 96} {
		msg := aead.Seal(bytes.Clone(header), nonceOf(header), make([]byte, size), nil)
		if !opens(msg) {
			t.Fatalf("%d bytes: the true message does not open", size)
		}
		eachFlip(msg, func(at int, flipped []byte) {
			if opens(flipped) {
				t.Errorf("%d bytes, flip in byte %d: opened", size, at)
			}
		})
	}
}

// TestRandomMessages feeds what only looks like a message.
func TestRandomMessages(t *testing.T) {
	const seed = 18
	p := newPair(t, seed)
	i, _ := p.initiate()
	for n := range 100 {
		var initiation message.Initiation
		var response message.Response
		var reply message.CookieReply
		p.random.Read(initiation.Ephemeral[:])
		p.random.Read(initiation.Static[:])
		p.random.Read(response.Ephemeral[:])
		p.random.Read(response.Empty[:])
		p.random.Read(reply.Nonce[:])
		p.random.Read(reply.Cookie[:])
		if _, err := Receive(p.bob.id, &initiation); err == nil {
			t.Errorf("seed %d, round %d: initiation accepted", seed, n)
		}
		if _, err := i.Finish(p.alice.id, &key.Preshared{}, &response); err == nil {
			t.Errorf("seed %d, round %d: response accepted", seed, n)
		}
		if p.alice.signer.Accept(0, p.alice.remote, &reply) {
			t.Errorf("seed %d, round %d: cookie reply accepted", seed, n)
		}
	}
	for n := range 200 {
		b := make([]byte, n)
		p.random.Read(b)
		if p.bob.id.CheckMAC1(b) {
			t.Errorf("seed %d: %d random bytes have a valid mac1", seed, n)
		}
	}
}
