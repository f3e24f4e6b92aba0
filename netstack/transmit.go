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

// maxUnqueued is the length in bytes of the longest packet that is sent by who
// has it, if nothing else is to be sent: for an acknowledgement or a request,
// waking run costs more than sending. Longer ones are likely to be followed by
// others, which one batch can hold.
const maxUnqueued = 600

// queue is what waits to be sent. It is bounded by bytes and by batches; who
// finds no room waits, so that the senders of TCP are slowed down and nothing
// is dropped. Packets that wait are merged into one batch with others of
// their route; the order in each route is kept.
type queue struct {
	link link
	// stats is where what is sent is counted.
	stats *counters

	mu sync.Mutex
	// work is signalled when there is a batch that run can send, or none to come.
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
	// sending says that the link has a packet or a batch. What comes meanwhile
	// has to wait, to stay in order.
	sending bool
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
	last := q.open[r]
	if last != nil {
		if packet := last.batch.Add(n); packet != nil {
			fill(packet)
			last.bytes += n
			q.bytes += n
			return true
		}
	}
	b := q.link.NewBatch(r, n)
	packet := b.Add(n)
	if packet == nil {
		b.Release()
		return false
	}
	fill(packet)
	if n <= maxUnqueued && q.count == 0 && !q.sending {
		q.send(b, n)
		return true
	}
	q.push(b, n)
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
	q.push(b, n)
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

// push appends a batch of n bytes. It is called with mu held and room made.
func (q *queue) push(b *wireguard.Batch, n int) {
	last := &q.ring[(q.first+q.count)%len(q.ring)]
	last.batch, last.bytes = b, n
	q.count++
	q.bytes += n
	q.open[b.Route()] = last
	if !q.sending { // else send signals when it is done
		q.work.Signal()
	}
}

// pop takes the oldest batch. It is called with mu held and a batch there.
func (q *queue) pop() (*wireguard.Batch, int) {
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
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		for q.count == 0 || q.sending {
			if q.closed && q.count == 0 {
				return
			}
			q.work.Wait()
		}
		q.send(q.pop())
	}
}

// send gives the link a batch of n bytes. It is called with mu held and nothing
// being sent, and lets go of mu meanwhile.
func (q *queue) send(b *wireguard.Batch, n int) {
	q.sending = true
	q.mu.Unlock()
	q.stats.transmitBatches.Add(1)
	q.stats.transmitPackets.Add(uint64(b.Len()))
	q.stats.transmitBytes.Add(uint64(n))
	q.link.Send(b)
	q.mu.Lock()
	q.sending = false
	if q.count > 0 {
		q.work.Signal()
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
