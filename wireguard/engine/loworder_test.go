package engine

import (
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// lowOrder are the public keys that the kernel's netns test uses: every
// Diffie-Hellman with one is zero.
var lowOrder = []string{
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
	"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
	"4Ot6fDtBuK4WVuP68Z/EatoJjeucMrH9hmIFFl9JuAA=",
	"X5yVvKNQjCSx0LFVnIPvWwREXMRYHI6G2CJO3dCfEVc=",
	"7P///////////////////////////////////////38=",
	"7f///////////////////////////////////////38=",
	"7v///////////////////////////////////////38=",
}

func lowOrderKeys(t testing.TB) (keys []key.Public) {
	for _, s := range lowOrder {
		k, err := key.ParsePublic(s)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	return keys
}

// TestLowOrderPeersEmitNothing: a peer with such a key is kept, as in the
// kernel, and nothing is ever sent to it, not with a persistent keepalive, not
// for data.
func TestLowOrderPeersEmitNothing(t *testing.T) {
	l := newLab(t, 1)
	a, b := l.add(Config{}), l.add(Config{})
	keys := lowOrderKeys(t)
	for _, k := range keys {
		a.apply(Change{Peers: []PeerChange{a.change(b, keepalive(time.Second), func(c *PeerChange) { c.PublicKey = k })}})
		if a.engine.Peer(k) == nil {
			t.Errorf("%v was not kept", k)
		}
		for range 3 {
			a.send(b) // the newest peer has the address
			l.run(l.now + 10*time.Second)
		}
	}
	l.run(l.now + time.Hour)
	a.expect("silence")
	if a.engine.Drops()[DropLowOrder] == 0 {
		t.Error("no drop was counted as low order")
	}
	if n := a.engine.indices.size(); n != 0 {
		t.Errorf("%d indices are left", n)
	}
}

// TestLowOrderMessagesAreRefused: a low-order ephemeral key, in an initiation
// or in a response, is dropped without a word. Low-order static keys are
// package handshake's to test.
func TestLowOrderMessagesAreRefused(t *testing.T) {
	for _, k := range lowOrderKeys(t) {
		t.Run(k.Short(), func(t *testing.T) {
			l, a, b := pair(t, 1)
			l.hold()

			in := message.Initiation{Sender: 1, Ephemeral: k.Bytes()}
			msg := make([]byte, message.InitiationSize)
			in.Put(msg)
			signFor(b, msg)
			b.receive(Endpoint{Addr: a.addr}, msg)
			b.expect("an initiation with a low-order ephemeral key")
			b.expectDrops(DropLowOrder, 1)

			a.send(b)
			sent, _ := message.ParseInitiation(a.last("initiation"))
			out := message.Response{Sender: 2, Receiver: sent.Sender, Ephemeral: k.Bytes()}
			msg = make([]byte, message.ResponseSize)
			out.Put(msg)
			signFor(a, msg)
			a.receive(Endpoint{Addr: b.addr}, msg)
			a.expectDrops(DropLowOrder, 1)

			l.pass(a, "initiation") // the true answer is still accepted
			l.pass(b, "response")
			l.pass(a, "data")
			b.expectDelivered(a, 1)
		})
	}
}

// signFor gives msg the mac1 that n expects.
func signFor(n *node, msg []byte) {
	id := handshake.NewIdentity(key.PrivateFrom([32]byte{1}))
	new(handshake.Signer).Sign(0, handshake.NewRemote(id, n.key.Public()), msg)
}
