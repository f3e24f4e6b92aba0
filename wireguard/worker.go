package wireguard

import (
	"context"
	"sync"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// maxHandshakes is how many messages wait for the worker. At half a
// millisecond each they are half a second of work; more would be answered too
// late to matter.
const maxHandshakes = 1024

// handshakeQueue is the work of the handshake worker: messages that came in,
// of which there may be too many, and initiations to make, of which there is
// one a peer at most.
type handshakeQueue struct {
	messages chan *handshakeMessage
	free     sync.Pool // of *handshakeMessage
	wake     chan struct{}

	mu          sync.Mutex
	initiations []*engine.Peer // guarded by mu
}

// handshakeMessage is a copy of one initiation or response.
type handshakeMessage struct {
	from engine.Endpoint
	buf  [message.InitiationSize]byte
	n    int
}

func (q *handshakeQueue) init() {
	q.messages = make(chan *handshakeMessage, maxHandshakes)
	q.wake = make(chan struct{}, 1)
}

// handle queues a copy of msg, and reports false when too many wait.
func (q *handshakeQueue) handle(from engine.Endpoint, msg []byte) bool {
	m, _ := q.free.Get().(*handshakeMessage)
	if m == nil {
		m = new(handshakeMessage)
	}
	m.from, m.n = from, copy(m.buf[:], msg)
	select {
	case q.messages <- m:
		return true
	default:
		q.free.Put(m)
		return false
	}
}

// backlog is how many messages wait.
func (q *handshakeQueue) backlog() engine.Backlog {
	return engine.Backlog{Waiting: len(q.messages), Limit: cap(q.messages)}
}

// initiate queues an initiation.
func (q *handshakeQueue) initiate(p *engine.Peer) {
	q.mu.Lock()
	q.initiations = append(q.initiations, p)
	q.mu.Unlock()
	q.poke()
}

// poke wakes the worker.
func (q *handshakeQueue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// next removes and returns the initiation that waits longest, or nil. It wakes
// the worker again when there are more: with thousands of peers to begin with,
// those that call, and the end of the Device, must not wait for all of them.
func (q *handshakeQueue) next() *engine.Peer {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.initiations) == 0 {
		return nil
	}
	p := q.initiations[0]
	q.initiations[0] = nil
	q.initiations = q.initiations[1:]
	if len(q.initiations) > 0 {
		q.poke()
	}
	return p
}

// runHandshakes is the worker: the Diffie-Hellman computations of all peers
// happen here, one after the other, and stall no data.
func (d *Device) runHandshakes(ctx context.Context) {
	var out engine.Output
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.work.wake:
			if p := d.work.next(); p != nil {
				p.Initiate(d.clock(), &out)
				d.act(&out)
			}
		case m := <-d.work.messages:
			d.engine.Handshake(d.clock(), m.from, m.buf[:m.n], &out)
			d.work.free.Put(m)
			d.act(&out)
		}
	}
}
