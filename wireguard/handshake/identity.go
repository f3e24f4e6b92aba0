package handshake

import (
	"golang.org/x/crypto/blake2s"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// Identity is our static key pair and what follows from it. It is safe for
// concurrent use, but for Wipe.
type Identity struct {
	private key.Private
	public  key.Public
	labels  labels
}

// NewIdentity is the identity of k. With the zero key, which is none, every
// handshake fails.
func NewIdentity(k key.Private) *Identity {
	public := k.Public()
	return &Identity{private: k, public: public, labels: newLabels(public)}
}

// Public is our static public key.
func (id *Identity) Public() key.Public {
	return id.public
}

// Wipe forgets the private key. The MACs of others can still be checked.
func (id *Identity) Wipe() {
	id.private.Wipe()
}

// Remote is a peer's static key as one identity sees it, with the
// Diffie-Hellman result of the two. It is safe for concurrent use, but for
// Wipe.
type Remote struct {
	public key.Public
	shared [32]byte // DH of the two static keys, when err is nil.
	err    error
	labels labels
}

// NewRemote is the peer of id with key p. It does one X25519. A key of low
// order is kept, as the kernel does; every handshake with it fails with
// [key.ErrLowOrder].
func NewRemote(id *Identity, p key.Public) *Remote {
	shared, err := id.private.DH(p)
	return &Remote{public: p, shared: shared, err: err, labels: newLabels(p)}
}

// Public is the peer's static public key.
func (r *Remote) Public() key.Public {
	return r.public
}

// Wipe overwrites what is secret; every later handshake fails.
func (r *Remote) Wipe() {
	clear(r.shared[:])
	r.err = errOrder
}

// labels are the keys of the MACs and of the cookie replies that go to or come
// from the owner of one static key: Hash(Label-Mac1 || S) and
// Hash(Label-Cookie || S) (whitepaper, sections 5.4.4 and 5.4.7).
type labels struct {
	mac1, cookie [32]byte
}

func newLabels(p key.Public) labels {
	b := p.Bytes()
	return labels{
		mac1:   blake2s.Sum256(append([]byte("mac1----"), b[:]...)),
		cookie: blake2s.Sum256(append([]byte("cookie--"), b[:]...)),
	}
}
