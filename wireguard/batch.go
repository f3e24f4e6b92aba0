package wireguard

import (
	"sync"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

const (
	// maxBatchPackets is the most packets one Batch carries: what one
	// UDP_SEGMENT send takes on every kernel, and 44 full datagrams of 1452
	// bytes are just below the 65,507 bytes that a UDP send may have.
	maxBatchPackets = 44
	maxBatchBytes   = 65507
	largeBuffer     = 64 << 10
	smallBuffer     = 2 << 10
)

// Route is where the packets of one destination go. It is a comparable value
// and stays valid after its peer is gone: what is sent to it then is dropped
// and counted.
type Route struct {
	peer *engine.Peer
}

// Batch is a run of IP packets for one peer, laid out for sealing in place and
// for one send: slots of one stride, each with room for the header, the
// packet, its padding and the tag. Only the last slot may be shorter.
//
// Ownership moves with the call: who gets a Batch fills it and gives it to
// Device.Send, or back with Release; after either it must not be touched.
type Batch struct {
	pool   *Pool
	route  Route
	buf    []byte // largeBuffer or smallBuffer bytes
	mtu    int
	stride int // bytes from one slot to the next
	end    int // bytes used so far
	full   bool
	sizes  [maxBatchPackets]uint16 // length of each packet, padding excluded
	n      int
}

// Pool hands out batches and takes their buffers back. It holds nothing that
// the garbage collector can't reclaim; what is in flight is bounded by the
// queues that batches travel through. The zero value is ready.
type Pool struct {
	small, large sync.Pool
}

// New returns an empty Batch for packets of size bytes at most, padded as for
// a tunnel of the given MTU. Short packets get a small buffer.
func (p *Pool) New(r Route, size, mtu int) *Batch {
	stride := engine.SealedSize(size, mtu)
	from, length := &p.large, largeBuffer
	if stride <= smallBuffer/2 {
		from, length = &p.small, smallBuffer
	}
	b, _ := from.Get().(*Batch)
	if b == nil {
		b = &Batch{pool: p, buf: make([]byte, length)}
	}
	b.route, b.mtu, b.stride, b.end, b.full, b.n = r, mtu, stride, 0, false, 0
	return b
}

// Add appends a packet of n bytes and returns its slot, which the caller fills
// wholly. It returns nil when the packet does not fit: the batch is full, n
// is larger than its size, or a shorter packet ended it.
func (b *Batch) Add(n int) []byte {
	sealed := engine.SealedSize(n, b.mtu)
	if b.full || n <= 0 || sealed > b.stride || b.n == maxBatchPackets ||
		b.end+sealed > min(len(b.buf), maxBatchBytes) {
		return nil
	}
	slot := b.buf[b.end : b.end+sealed]
	packet := slot[message.DataHeaderSize : message.DataHeaderSize+n]
	clear(slot[message.DataHeaderSize+n : sealed-message.TagSize])
	b.sizes[b.n] = uint16(n)
	b.n++
	b.end += sealed
	b.full = sealed < b.stride
	return packet
}

// Len is the number of packets.
func (b *Batch) Len() int { return b.n }

// Route is where the batch goes.
func (b *Batch) Route() Route { return b.route }

// Packet is the i-th packet, without its padding, until the batch is sent.
func (b *Batch) Packet(i int) []byte {
	start := i*b.stride + message.DataHeaderSize
	return b.buf[start : start+int(b.sizes[i])]
}

// slot is the i-th packet with its header, padding and tag.
func (b *Batch) slot(i int) []byte {
	return b.buf[i*b.stride : min((i+1)*b.stride, b.end)]
}

// Release gives an unsent batch back to its pool.
func (b *Batch) Release() {
	b.route = Route{}
	if len(b.buf) == largeBuffer {
		b.pool.large.Put(b)
		return
	}
	b.pool.small.Put(b)
}
