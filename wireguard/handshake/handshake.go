// Package handshake is the cryptography of WireGuard's handshake: the pattern
// Noise_IKpsk2 that turns two static keys into a pair of session keys
// (whitepaper, sections 5.4.2 to 5.4.5), and the MACs and cookies that keep
// strangers from making a host do it for nothing (5.3, 5.4.4 and 5.4.7).
//
// An [Identity] is our own static key, a [Remote] a peer's as that identity
// sees it. One side calls [Initiate] and then [Initiator.Finish]:
//
//	initiator                               responder
//	Initiate, Signer.Sign   -> initiation -> CheckMAC1, Receive, Authenticate
//	CheckMAC1, Finish       <-  response  <- Respond, Signer.Sign
//
// The package decides nothing about policy. Its caller looks peers up, keeps
// the greatest timestamp of each and refuses what is not [Timestamp.After] it,
// chooses indices, and says when it is under load.
//
// Everything is pure: times are arguments, of a clock that counts from boot and
// goes on in suspend, and randomness is an argument. A message that is refused
// leaves no trace. Every Diffie-Hellman result that is all zero fails, in both
// roles. Temporaries are wiped as far as Go allows.
package handshake

import (
	"errors"
	"fmt"
	"io"
)

var (
	// ErrAuthentication says that a message did not open: it is forged,
	// damaged, or made with other keys than we hold, preshared ones included.
	ErrAuthentication = errors.New("handshake message is not authentic")

	errOrder = errors.New("handshake step is out of order")
)

// Keys are the two keys of a new session, as one side uses them (whitepaper,
// section 5.4.5).
type Keys struct {
	Send, Receive [32]byte
}

// Wipe overwrites both keys.
func (k *Keys) Wipe() {
	*k = Keys{}
}

// Format prints a placeholder for every verb, never a key.
func (k Keys) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "(session keys)")
}
