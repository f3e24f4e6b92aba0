package netstack

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	// ackDelay is how long an acknowledgement waits for data to go with
	// (RFC 9293, section 3.8.6.3, allows half a second).
	ackDelay = 10 * time.Millisecond
	// maxAckDelayed is the most data, in bytes, whose acknowledgement waits:
	// less than a full segment, so that every second one is acknowledged at
	// once.
	maxAckDelayed = 600
	// ackFlows is how many flows are remembered. Two whose place is the same
	// take turns.
	ackFlows = 256
)

// delayer holds back the acknowledgement of an answer, as the next request may
// follow at once and has it anyway: the stack never waits. It does that for one
// in a row, of a flow whose last packet had data. What could tell the other end
// more than "arrived" is never held back: a duplicate, options beside the
// timestamp, flags.
type delayer struct {
	// send sends what nothing came for.
	send func(late)

	mu    sync.Mutex
	flows [ackFlows]ackFlow // by flowKey.place; guarded by mu
	timer *time.Timer       // guarded by mu; nil before the first use
	armed bool              // guarded by mu; the timer will fire
}

// ackFlow is what the delayer knows of one direction of a connection.
type ackFlow struct {
	key   flowKey
	acked uint32 // by the last packet
	spoke bool   // the last packet had data

	held [maxHeaders]byte // the acknowledgement that waits
	n    int              // its length, 0 for none
	due  time.Time
}

// late is an acknowledgement that has waited, and where it goes.
type late struct {
	to     netip.Addr
	packet []byte // nil for none
}

// flowKey tells the directions of connections apart.
type flowKey struct {
	src, dst netip.Addr
	ports    uint32 // both, as in the header
}

// keyOf is the key of a packet of TCP.
func keyOf(ip []byte, tcp header.TCP) flowKey {
	return flowKey{source(ip), destination(ip), binary.BigEndian.Uint32(tcp)}
}

func (k flowKey) place() uint32 {
	dst := k.dst.As16()
	h := (k.ports ^ binary.BigEndian.Uint32(dst[12:])) * 0x9e3779b1 // Fibonacci hashing
	return h >> 24                                                  // one of ackFlows
}

// take takes an outgoing packet of TCP with a complete header. It
// reports whether the packet waits; if not, it has to be sent, and first before
// it.
func (d *delayer) take(pkt *stack.PacketBuffer) (waits bool, first late) {
	ip, tcp := pkt.NetworkHeader().Slice(), header.TCP(pkt.TransportHeader().Slice())
	k := keyOf(ip, tcp)
	spoken := pkt.Data().Size() > 0

	d.mu.Lock()
	defer d.mu.Unlock()
	f := &d.flows[k.place()]
	if f.key != k {
		if !spoken {
			return false, late{} // there is nothing to know
		}
		first = f.release()
		f.key = k
	}
	ack := tcp.AckNumber()
	switch fresh := ack - f.acked; {
	case spoken, tcp.Flags() != header.TCPFlagAck, f.n > 0 && int32(ack-f.heldAck()) > 0:
		f.n = 0 // this one has it
	case f.n > 0:
		first = f.release() // this one is its duplicate, and must count as one
	case f.spoke && 1 < fresh && fresh < maxAckDelayed && plainAck(tcp): // 1 would be an end of stream
		f.n = pkt.Size()
		writePacket(f.held[:f.n], pkt)
		f.due = time.Now().Add(ackDelay)
		d.arm(ackDelay)
		return true, late{}
	}
	f.acked, f.spoke = ack, spoken
	return false, first
}

// release returns the acknowledgement that waits, or none.
func (f *ackFlow) release() late {
	if f.n == 0 {
		return late{}
	}
	l := late{f.key.dst, bytes.Clone(f.held[:f.n])}
	f.acked, f.spoke, f.n = f.heldAck(), false, 0
	return l
}

// heldAck is the number that waits.
func (f *ackFlow) heldAck() uint32 {
	network := header.IPv6MinimumSize
	if header.IPVersion(f.held[:]) == header.IPv4Version {
		network = int(header.IPv4(f.held[:]).HeaderLength())
	}
	return header.TCP(f.held[network:]).AckNumber()
}

// plainAck reports whether a segment with the flag of an acknowledgement alone,
// and without data, says nothing but what has arrived.
func plainAck(tcp header.TCP) bool {
	return tcp[header.TCPDataOffset]&0x0f == 0 && (len(tcp) == header.TCPMinimumSize || onlyTimestamp(tcp[header.TCPMinimumSize:]))
}

// arm has fire called. It is called with mu held.
func (d *delayer) arm(in time.Duration) {
	switch {
	case d.armed:
		return // fire arms it again for what is not due then
	case d.timer == nil:
		d.timer = time.AfterFunc(in, d.fire)
	default:
		d.timer.Reset(in)
	}
	d.armed = true
}

// fire sends what has waited long enough.
func (d *delayer) fire() {
	var all []late
	d.mu.Lock()
	now := time.Now()
	var next time.Duration
	for i := range d.flows {
		f := &d.flows[i]
		if f.n == 0 {
			continue
		}
		if left := f.due.Sub(now); left > 0 {
			if next == 0 || left < next {
				next = left
			}
			continue
		}
		all = append(all, f.release())
	}
	d.armed = false
	if next > 0 {
		d.arm(next)
	}
	d.mu.Unlock()
	for _, l := range all {
		d.send(l)
	}
}
