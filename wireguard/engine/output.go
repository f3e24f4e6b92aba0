package engine

// Output is what the engine wants done. The caller brings one, reuses it with
// Reset, and acts on it without any lock held.
type Output struct {
	// Datagrams are to be sent, in this order. Their bytes are the caller's
	// until Reset.
	Datagrams []Datagram
	// Initiate lists peers on which Initiate is to be called, soon, on a
	// goroutine that can afford a Diffie-Hellman computation.
	Initiate []*Peer
	// Rearm lists peers whose Deadline moved earlier.
	Rearm []*Peer
	// Events are what happened, for people and for metrics.
	Events []Event

	arena []byte
}

// Datagram is one UDP payload.
type Datagram struct {
	To    Endpoint
	Bytes []byte
	// Initiator is whose initiation this is, nil for anything else. One that
	// can't be sent may go to another address of the peer.
	Initiator *Peer
}

// Reset makes room for the next use and keeps the memory.
func (o *Output) Reset() {
	clear(o.Datagrams)
	clear(o.Initiate)
	clear(o.Rearm)
	clear(o.Events)
	*o = Output{
		Datagrams: o.Datagrams[:0], Initiate: o.Initiate[:0], Rearm: o.Rearm[:0], Events: o.Events[:0],
		arena: o.arena[:0],
	}
	if cap(o.arena) > maxArena {
		o.arena = nil
	}
}

// maxArena is how much memory an Output keeps over a Reset: a flush of many
// staged packets must not be paid for ever.
const maxArena = 64 << 10

// buffer returns n zero bytes that live until Reset.
func (o *Output) buffer(n int) []byte {
	if len(o.arena)+n > cap(o.arena) {
		// Earlier buffers stay valid in the old array.
		o.arena = make([]byte, 0, max(2048, 2*cap(o.arena), n))
	}
	b := o.arena[len(o.arena) : len(o.arena)+n : len(o.arena)+n]
	o.arena = o.arena[:len(o.arena)+n]
	clear(b)
	return b
}

// EventKind says what happened to a peer.
type EventKind uint8

// The kinds.
const (
	// EventInitiation: an initiation leaves. Attempt counts them, from 1, since
	// the peer was last heard.
	EventInitiation EventKind = iota + 1
	// EventHandshake: a session was confirmed; it carries data from now on.
	EventHandshake
	// EventEndpoint: the peer was heard from a new address, now its Endpoint.
	EventEndpoint
	// EventGaveUp: 20 initiations went unanswered; the next packet for the
	// peer, or its persistent keepalive, starts again.
	EventGaveUp
	// EventOldTimestamp: an authentic initiation was refused because it is not
	// newer than one accepted before. It was recorded and sent again, or the
	// peer's clock went back. It comes once until the next that is accepted.
	EventOldTimestamp
	// EventKeysZeroed: no new session came for 540 s; every key was wiped.
	EventKeysZeroed
)

// Event is something that happened to a peer.
type Event struct {
	Kind    EventKind
	Peer    *Peer
	Attempt int // of EventInitiation
}
