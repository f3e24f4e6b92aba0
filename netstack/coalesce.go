package netstack

import (
	"bytes"
	"encoding/binary"
	"math"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// maxRuns is how many flows can have a run at a time; one more takes the place
// of another, which goes to the stack.
const maxRuns = 16

// coalescer merges what belongs together of the packets of one delivery, since
// the stack's work is by packet and hardly by byte. Segments of TCP become one
// if they could have been sent as one, and an acknowledgement takes the place
// of one that it makes superfluous. Nothing waits for another delivery. The
// order of packets is kept in each flow.
type coalescer struct {
	// hand gives the stack a packet, whose first part is in.
	hand  func(in *inbound, pkt *stack.PacketBuffer)
	stats *counters

	in   inbound // the packet that deliver looks at; here so that none allocates
	runs [maxRuns]run
	next int // the run to go when there is none left
}

// run is a packet that waits for more of its flow. It is unused if its first
// packet has no bytes.
type run struct {
	first  inbound
	pieces [][]byte // the data of its segments; none is an acknowledgement
	length int      // of all pieces
	// duplicate says that it acknowledges what the packet before did.
	duplicate bool
}

// add takes the next packet, whose bytes have to stay as they are until flush.
func (c *coalescer) add(in *inbound) {
	s := in.tcp()
	if s == nil {
		if in.verdict == unverified {
			c.flush() // it may be of any flow
		}
		c.hand(in, in.packetBuffer())
		return
	}
	duplicate := false
	if r := c.find(in); r != nil {
		switch {
		case !mergeable(s):
		case r.append(in):
			c.stats.coalesceSegments.Add(1)
			if r.ended(len(in.bytes) - in.headers) {
				c.end(r)
			}
			return
		case r.supersede(in):
			c.stats.coalesceAcks.Add(1)
			return
		}
		duplicate = len(in.bytes) == in.headers && s.AckNumber() == r.first.tcp().AckNumber()
		c.end(r)
	}
	if !mergeable(s) {
		c.hand(in, in.packetBuffer())
		return
	}
	r := c.unused()
	r.first, r.duplicate, r.length = *in, duplicate, 0
	if data := in.bytes[in.headers:]; len(data) > 0 {
		r.pieces, r.length = append(r.pieces, data), len(data)
		if r.ended(len(data)) {
			c.end(r)
		}
	}
}

// mergeable reports whether a segment says nothing but where its data belongs
// and what has arrived. What is urgent, opens, ends or resets a connection, or
// tells of congestion (RFC 3168, section 6.1; RFC 9768, section 3.1, has taken
// a reserved bit for it) goes alone.
func mergeable(s header.TCP) bool {
	return s.Flags()&^header.TCPFlagPsh == header.TCPFlagAck && s[header.TCPDataOffset]&0x0f == 0
}

// find returns the run of a packet's flow, or nil.
func (c *coalescer) find(in *inbound) *run {
	for i := range c.runs {
		if r := &c.runs[i]; r.first.bytes != nil && r.first.sameFlow(in) {
			return r
		}
	}
	return nil
}

// unused returns a run that is free, or is now.
func (c *coalescer) unused() *run {
	for i := range c.runs {
		if c.runs[i].first.bytes == nil {
			return &c.runs[i]
		}
	}
	r := &c.runs[c.next]
	c.next = (c.next + 1) % maxRuns
	c.end(r)
	return r
}

// append adds the data of a mergeable segment, if it and the run could have been one.
func (r *run) append(in *inbound) bool {
	a, b, data := r.first.tcp(), in.tcp(), in.bytes[in.headers:]
	switch {
	case len(r.pieces) == 0, len(data) == 0, len(data) > len(r.pieces[0]), r.first.headers+r.length+len(data) > math.MaxUint16:
	case !r.first.sameKind(in), a.AckNumber() != b.AckNumber(), a.WindowSize() != b.WindowSize():
	case b.SequenceNumber() != a.SequenceNumber()+uint32(r.length):
	case !bytes.Equal(a.Options(), b.Options()):
	default:
		r.pieces = append(r.pieces, data)
		r.length += len(data)
		r.first.push = r.first.push || in.push
		return true
	}
	return false
}

// ended reports whether nothing can be added behind a last segment of so many
// bytes: the sender had no more, or pushed.
func (r *run) ended(last int) bool { return r.first.push || last < len(r.pieces[0]) }

// supersede replaces an acknowledgement by one of more data. None is lost that
// could tell more than the next: a duplicate, or one with options beside the
// timestamp, as for data that arrived out of order (RFC 2018). A duplicate of
// what an earlier delivery brought can't be known, and need not: the gap that
// it told of is closed. Of windows the latest one counts.
func (r *run) supersede(in *inbound) bool {
	a, b := r.first.tcp(), in.tcp()
	if len(r.pieces) > 0 || len(in.bytes) > in.headers || r.duplicate ||
		r.first.push || in.push || !r.first.sameKind(in) ||
		a.SequenceNumber() != b.SequenceNumber() || int32(b.AckNumber()-a.AckNumber()) <= 0 ||
		!onlyTimestamp(a.Options()) || !onlyTimestamp(b.Options()) {
		return false
	}
	r.first = *in
	return true
}

// onlyTimestamp reports whether options are a timestamp, in the layout of
// RFC 7323, appendix A, which all senders use.
func onlyTimestamp(options []byte) bool {
	return len(options) == 12 && binary.BigEndian.Uint32(options) == 0x0101080a
}

// flush gives the stack all that waits.
func (c *coalescer) flush() {
	for i := range c.runs {
		if r := &c.runs[i]; r.first.bytes != nil {
			c.end(r)
		}
	}
}

// end gives a run to the stack.
func (c *coalescer) end(r *run) {
	c.hand(&r.first, r.packetBuffer())
	clear(r.pieces) // the packets are not ours any more
	r.first, r.pieces = inbound{}, r.pieces[:0]
}

// packetBuffer makes one packet of the run, without a valid checksum of TCP.
func (r *run) packetBuffer() *stack.PacketBuffer {
	if len(r.pieces) < 2 {
		return r.first.packetBuffer()
	}
	head := buffer.NewViewWithData(r.first.bytes[:r.first.headers])
	r.first.finish(head.AsSlice(), r.first.headers+r.length)
	data := buffer.NewView(r.length)
	for _, p := range r.pieces {
		_, _ = data.Write(p) // a view takes all
	}
	return newPacket(head, data, true)
}
