package engine

// Drop is why a packet went no further. Each reason is a counter; a dropped
// packet is neither an error nor a line in a log.
type Drop uint8

// The reasons, in the order of a packet's way. The names are the steps of it.
const (
	DropNone        Drop = iota
	DropRoute            // no peer has the destination in its AllowedIPs
	DropEndpoint         // the peer has no endpoint yet
	DropStaged           // the oldest of too many packets that wait for a session
	DropRemoved          // the peer was removed, or the engine went down
	DropTransmit         // the socket refused it
	DropClassify         // not one of the four messages
	DropMAC1             // an initiation or response without a valid mac1
	DropBacklog          // more handshakes than can wait
	DropCookie           // under load, answered with a cookie reply instead
	DropRate             // under load, more than its source may send
	DropUnknownPeer      // an initiation by a static key that is no peer's
	DropInvalid          // a handshake message that does not authenticate
	DropReplay           // an initiation whose timestamp is not newer
	DropFlood            // an initiation within 20 ms of the last
	DropState            // a response or cookie reply that nothing waits for
	DropLowOrder         // a Diffie-Hellman result of zero
	DropRandom           // no randomness, or no free index
	DropFind             // no session has this receiver index
	DropExpired          // the session is past Reject-After-Time
	DropOpen             // data that does not authenticate
	DropCommit           // data whose counter was seen, is too old, or too large
	DropMalformed        // not an IP packet, or one cut short
	DropPolice           // the inner source is not in the peer's AllowedIPs
	dropReasons
)

var dropNames = [dropReasons]string{
	"none", "route", "endpoint", "staged", "removed", "transmit", "classify", "mac1", "backlog", "cookie", "rate",
	"unknown-peer", "invalid", "replay", "flood", "state", "low-order", "random", "find", "expired", "open", "commit",
	"malformed", "police",
}

// String is the reason's name, as counters and logs show it.
func (d Drop) String() string {
	if d >= dropReasons {
		return "unknown"
	}
	return dropNames[d]
}

// Drop counts one packet that went no further.
func (e *Engine) Drop(d Drop) { e.drops[d].Add(1) }

// Drops returns how many packets were dropped for each reason, the reasons in
// order; DropNone counts nothing.
func (e *Engine) Drops() (n [dropReasons]uint64) {
	for i := range e.drops {
		n[i] = e.drops[i].Load()
	}
	return n
}
