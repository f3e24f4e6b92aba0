package handshake

import (
	"math/rand/v2"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// The indices that alice and bob ask to be answered by.
const (
	aliceIndex = 0x01020304
	bobIndex   = 0x0a0b0c0d
)

// lowOrder are the points of small order on the curve and on its twist.
var lowOrder = []string{
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
	"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
	"4Ot6fDtBuK4WVuP68Z/EatoJjeucMrH9hmIFFl9JuAA=",
	"X5yVvKNQjCSx0LFVnIPvWwREXMRYHI6G2CJO3dCfEVc=",
	"7P///////////////////////////////////////38=",
	"7f///////////////////////////////////////38=",
	"7v///////////////////////////////////////38=",
}

// pair is two hosts that know each other; alice initiates.
type pair struct {
	t          testing.TB
	random     *rand.ChaCha8
	alice, bob side
}

// side is one host of a pair.
type side struct {
	id     *Identity
	remote *Remote // The other host.
	signer Signer
}

func newPair(t testing.TB, seed byte) *pair {
	p := &pair{t: t, random: rand.NewChaCha8([32]byte{seed})}
	p.alice.id = NewIdentity(p.private())
	p.bob.id = NewIdentity(p.private())
	p.alice.remote = NewRemote(p.alice.id, p.bob.id.Public())
	p.bob.remote = NewRemote(p.bob.id, p.alice.id.Public())
	return p
}

func (p *pair) private() key.Private {
	p.t.Helper()
	k, err := key.NewPrivate(p.random)
	if err != nil {
		p.t.Fatal(err)
	}
	return k
}

func (p *pair) preshared() key.Preshared {
	p.t.Helper()
	k, err := key.NewPreshared(p.random)
	if err != nil {
		p.t.Fatal(err)
	}
	return k
}

// initiate has alice begin a handshake.
func (p *pair) initiate() (*Initiator, message.Initiation) {
	p.t.Helper()
	i, m, err := Initiate(p.alice.id, p.alice.remote, aliceIndex, Timestamp{1}, p.private())
	if err != nil {
		p.t.Fatalf("Initiate: %v", err)
	}
	return i, m
}

// receive has bob take in a good initiation of alice.
func (p *pair) receive(m *message.Initiation) *Responder {
	p.t.Helper()
	r, err := Receive(p.bob.id, m)
	if err != nil {
		p.t.Fatalf("Receive: %v", err)
	}
	if _, err := r.Authenticate(p.bob.remote); err != nil {
		p.t.Fatalf("Authenticate: %v", err)
	}
	return r
}

// respond has bob answer a good initiation of alice.
func (p *pair) respond(m *message.Initiation, psk *key.Preshared) (message.Response, Keys) {
	p.t.Helper()
	response, keys, err := p.receive(m).Respond(p.bob.remote, psk, bobIndex, p.private())
	if err != nil {
		p.t.Fatalf("Respond: %v", err)
	}
	return response, keys
}

// signedInitiation is m as bytes, with MACs.
func (p *pair) signedInitiation(m *message.Initiation) []byte {
	b := make([]byte, message.InitiationSize)
	m.Put(b)
	p.alice.signer.Sign(0, p.alice.remote, b)
	return b
}

// signedResponse is m as bytes, with MACs.
func (p *pair) signedResponse(m *message.Response) []byte {
	b := make([]byte, message.ResponseSize)
	m.Put(b)
	p.bob.signer.Sign(0, p.bob.remote, b)
	return b
}

// mirrored reports whether two sides hold the same keys with their parts
// exchanged, and not one key for both directions.
func mirrored(a, b Keys) bool {
	return a.Send == b.Receive && a.Receive == b.Send && a.Send != a.Receive
}
