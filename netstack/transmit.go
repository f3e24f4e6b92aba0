package netstack

import (
	"sync"

	"github.com/wimble-proxy/wimble/wireguard"
)

// Bounds of the transmit queue. What waits here waits for the UDP socket
// alone: a megabyte is gone in about two milliseconds.
const (
	maxQueuedBatches = 64
	maxQueuedBytes   = 1 << 20
)

// queue is what waits to be sent. It is bounded by bytes and by batches; who
// finds no room waits, so that the senders of TCP are slowed down and nothing
// is dropped. Packets that wait are merged into one batch with others of
// their route; the order in each route is kept.
type queue struct {
	link link
	// stats is where what is sent is counted.
	stats *counters

	mu sync.Mutex
	// work is signalled when there is a batch to send, or no more to come.
	work sync.Cond
	// room is signalled when half of the queue is free, or nobody shall wait.
	room sync.Cond
	// ring holds count batches from first on. Guarded by mu, as the rest.
	ring         [maxQueuedBatches]queued
	first, count int
	bytes        int
	// open is the last batch of each route in the queue, to which packets can
	// still be added.
	open map[wireguard.Route]*queued
	// closed says that nothing is taken any more, and that the queue ends when
	// it is empty.
	closed bool
}

// queued is a batch that waits, and the bytes of its packets.
type queued struct {
	batch *wireguard.Batch
	bytes int
}

func newQueue(l link, stats *counters) *queue {
	q := &queue{link: l, stats: stats, open: make(map[wireguard.Route]*queued)}
	q.work.L, q.room.L = &q.mu, &q.mu
	return q
}

// add queues a packet of n bytes, which fill writes. It returns false when the
// queue does not take the packet: it is too long for any batch, or the end is
// near.
func (q *queue) add(r wireguard.Route, n int, fill func(packet []byte)) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.makeRoom(1) {
		return false
	}
	var packet []byte
	last := q.open[r]
	if last != nil {
		packet = last.batch.Add(n)
	}
	if packet == nil {
		b := q.link.NewBatch(r, n)
		if packet = b.Add(n); packet == nil {
			b.Release()
			return false
		}
		last = q.push(b)
	}
	fill(packet)
	last.bytes += n
	q.bytes += n
	return true
}

// put queues a batch of n bytes, which is the queue's from now on. It returns
// false as add does.
func (q *queue) put(b *wireguard.Batch, n int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.makeRoom(b.Len()) {
		b.Release()
		return false
	}
	q.push(b).bytes = n
	q.bytes += n
	return true
}

// makeRoom waits until the queue takes something. It returns false when it
// will not, and packets are lost. It is called with mu held.
func (q *queue) makeRoom(packets int) bool {
	for q.full() && !q.closed {
		q.stats.transmitWaits.Add(1)
		q.room.Wait()
	}
	if q.closed {
		q.stats.transmitDrops.Add(uint64(packets))
		return false
	}
	return true
}

// full is called with mu held.
func (q *queue) full() bool { return q.count == len(q.ring) || q.bytes >= maxQueuedBytes }

// push appends a batch. It is called with mu held and room made.
func (q *queue) push(b *wireguard.Batch) *queued {
	last := &q.ring[(q.first+q.count)%len(q.ring)]
	last.batch, last.bytes = b, 0
	q.count++
	q.open[b.Route()] = last
	q.work.Signal()
	return last
}

// pop takes the oldest batch, and waits for one. It returns nil when the queue
// is closed and empty.
func (q *queue) pop() (*wireguard.Batch, int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.count == 0 {
		if q.closed {
			return nil, 0
		}
		q.work.Wait()
	}
	oldest := &q.ring[q.first]
	b, n := oldest.batch, oldest.bytes
	if q.open[b.Route()] == oldest {
		delete(q.open, b.Route())
	}
	*oldest = queued{}
	q.first = (q.first + 1) % len(q.ring)
	q.count--
	q.bytes -= n
	if q.count <= len(q.ring)/2 && q.bytes <= maxQueuedBytes/2 {
		q.room.Broadcast()
	}
	return b, n
}

// run sends what is queued until the queue is closed and empty.
func (q *queue) run() {
	for {
		b, n := q.pop()
		if b == nil {
			return
		}
		q.stats.transmitBatches.Add(1)
		q.stats.transmitPackets.Add(uint64(b.Len()))
		q.stats.transmitBytes.Add(uint64(n))
		q.link.Send(b)
	}
}

// close ends run when all that is queued was sent. Who waits for room waits no
// longer, and what has found none is lost.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.room.Broadcast()
	q.work.Broadcast()
}
