package handshake

import (
	"crypto/cipher"

	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// Where every handshake starts (whitepaper, section 5.4): C = Hash(Construction)
// and H = Hash(C || Identifier). Never written to.
var (
	firstChain = blake2s.Sum256([]byte("Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"))
	firstHash  = blake2s.Sum256(append(firstChain[:], "WireGuard v1 zx2c4 Jason@zx2c4.com"...))
)

// state is what both sides of a handshake compute alike, message by message.
type state struct {
	chain [32]byte // C: all secrets so far.
	hash  [32]byte // H: all bytes sent so far, and what was known before.
}

// begin is the state before the first message to responder.
func begin(responder key.Public) state {
	s := state{chain: firstChain, hash: firstHash}
	b := responder.Bytes()
	s.mixHash(b[:])
	return s
}

// wipe overwrites the state.
func (s *state) wipe() {
	*s = state{}
}

// mixHash is H = Hash(H || b).
func (s *state) mixHash(b []byte) {
	joined := append(make([]byte, 0, 2*blake2s.BlockSize), s.hash[:]...)
	s.hash = blake2s.Sum256(append(joined, b...))
}

// mixEphemeral takes in either side's ephemeral public key: H = Hash(H || E)
// and C = KDF1(C, E).
func (s *state) mixEphemeral(e *[32]byte) {
	s.mixHash(e[:])
	kdf(&s.chain, e[:], &s.chain)
}

// mixDH takes in the Diffie-Hellman result of k and p: (C, key) = KDF2(C, DH).
// Where the whitepaper has KDF1 the key is not used; C is the same.
func (s *state) mixDH(k key.Private, p key.Public) (derived [32]byte, err error) {
	shared, err := k.DH(p)
	if err != nil {
		return derived, err
	}
	kdf(&s.chain, shared[:], &s.chain, &derived)
	clear(shared[:])
	return derived, nil
}

// mixStatic is mixDH of the two static keys, which r has computed beforehand.
func (s *state) mixStatic(r *Remote) (derived [32]byte, err error) {
	if r.err != nil {
		return derived, r.err
	}
	kdf(&s.chain, r.shared[:], &s.chain, &derived)
	return derived, nil
}

// mixPreshared takes in the preshared key: (C, tau, key) = KDF3(C, Q) and
// H = Hash(H || tau). Without one, Q is zero.
func (s *state) mixPreshared(psk *key.Preshared) (derived [32]byte) {
	var q, tau [32]byte
	if psk != nil {
		q = psk.Bytes()
	}
	kdf(&s.chain, q[:], &s.chain, &tau, &derived)
	s.mixHash(tau[:])
	clear(q[:])
	clear(tau[:])
	return derived
}

// seal appends plaintext to dst, sealed with k under H, takes the result into
// H, and wipes k, which is good for one use.
func (s *state) seal(k *[32]byte, dst, plaintext []byte) {
	sealed := newAEAD(k).Seal(dst, zeroNonce[:], plaintext, s.hash[:])
	s.mixHash(sealed[len(dst):])
	clear(k[:])
}

// open is the inverse of seal. When it fails, the state has not changed but
// for the secrets that led to k.
func (s *state) open(k *[32]byte, dst, sealed []byte) error {
	_, err := newAEAD(k).Open(dst, zeroNonce[:], sealed, s.hash[:])
	clear(k[:])
	if err != nil {
		return ErrAuthentication
	}
	s.mixHash(sealed)
	return nil
}

// split ends the handshake with the keys of the session: what the initiator
// sends with and what the responder sends with (whitepaper, section 5.4.5).
func (s *state) split() (initiator, responder [32]byte) {
	kdf(&s.chain, nil, &initiator, &responder)
	return initiator, responder
}

// zeroNonce is the nonce of all handshake ciphers: each has a fresh key.
var zeroNonce [chacha20poly1305.NonceSize]byte

func newAEAD(k *[32]byte) cipher.AEAD {
	return usable(chacha20poly1305.New(k[:]))
}

// usable is a cipher made with a key of the right size.
func usable(aead cipher.AEAD, err error) cipher.AEAD {
	if err != nil {
		// Only GODEBUG=fips140=only leads here, a mode without WireGuard.
		panic("handshake: no ChaCha20-Poly1305 in this process: " + err.Error())
	}
	return aead
}
