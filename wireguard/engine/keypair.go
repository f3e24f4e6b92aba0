package engine

import (
	"crypto/cipher"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// Keypair is the two keys of one session with one peer. Its keys and indices
// never change, so Reserve, Seal and Open need no lock.
type Keypair struct {
	peer          *Peer
	local, remote uint32 // receiver indices: what they send us, what we send them
	send, receive cipher.AEAD
	birth         time.Duration
	initiator     bool // we sent the initiation

	counter atomic.Uint64 // the next nonce to send with
	retired atomic.Bool   // our static key changed: receive only

	received window // guarded by peer.lock
}

// newKeypair makes a session of a handshake's keys and wipes those. The
// ciphers keep copies inside, which end with the Keypair: Go has no way to
// wipe them.
func newKeypair(p *Peer, k *handshake.Keys, local, remote uint32, initiator bool, birth time.Duration) *Keypair {
	defer k.Wipe()
	return &Keypair{
		peer: p, local: local, remote: remote,
		send: mustAEAD(&k.Send), receive: mustAEAD(&k.Receive),
		birth: birth, initiator: initiator,
	}
}

func mustAEAD(k *[32]byte) cipher.AEAD {
	a, err := chacha20poly1305.New(k[:])
	if err != nil {
		panic("engine: a 32-byte key was refused: " + err.Error())
	}
	return a
}

// Peer is whose session it is.
func (k *Keypair) Peer() *Peer { return k.peer }

// expired reports whether the session is past Reject-After-Time.
func (k *Keypair) expired(now time.Duration) bool { return now-k.birth >= RejectAfterTime }

// sendable reports whether the session may carry one more message.
func (k *Keypair) sendable(now time.Duration) bool {
	return !k.retired.Load() && !k.expired(now) && k.counter.Load() < RejectAfterMessages
}

// Reserve takes n nonces that nobody else gets and returns the first. It
// reports false when that would reach Reject-After-Messages.
func (k *Keypair) Reserve(n int) (first uint64, ok bool) {
	for {
		first = k.counter.Load()
		if first >= RejectAfterMessages || RejectAfterMessages-first < uint64(n) {
			return 0, false
		}
		if k.counter.CompareAndSwap(first, first+uint64(n)) {
			return first, true
		}
	}
}

// Seal makes a data message of slot in place (Whitepaper, 5.4.6): the caller
// left 16 bytes for the header before the padded packet and 16 for the tag
// behind it.
func (k *Keypair) Seal(slot []byte, counter uint64) {
	// Bytes 4 to 16 of a header are the receiver index and the counter. With
	// the index still zero they are exactly the AEAD's nonce; borrowing them
	// saves an allocation, since a nonce of its own would escape.
	message.PutDataHeader(slot, 0, counter)
	nonce := slot[4:message.DataHeaderSize]
	body := slot[message.DataHeaderSize : len(slot)-message.TagSize]
	k.send.Seal(body[:0], nonce, body, nil)
	message.PutDataHeader(slot, k.remote, counter)
}

// Open authenticates and decrypts a data message in place and returns the
// padded packet with its counter. It changes no state: Commit does. The
// message is unusable afterwards when it fails.
func (k *Keypair) Open(now time.Duration, msg []byte) (Opened, Drop) {
	if k.expired(now) {
		return Opened{}, DropExpired
	}
	counter := message.DataCounter(msg)
	clear(msg[4:8]) // see Seal
	body := msg[message.DataHeaderSize:]
	plain, err := k.receive.Open(body[:0], msg[4:message.DataHeaderSize], body, nil)
	if err != nil {
		return Opened{}, DropOpen
	}
	return Opened{Counter: counter, Packet: plain}, DropNone
}

// Opened is one authenticated message on its way in.
type Opened struct {
	Counter uint64
	// Packet is the plaintext with its padding, empty for a keepalive. Commit
	// sets it to nil for a counter that is not new.
	Packet []byte
}
