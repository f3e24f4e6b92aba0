package netstack

import (
	"bytes"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	// gapLeast is the shortest time that a gap gets to close.
	gapLeast = time.Millisecond
	// gapKept is how many acknowledgements are kept back at most that tell of
	// different data: with more, so much is lost that nothing is to wait for.
	gapKept = 16
	// gapForgotten is when a gap is no longer remembered that did not close.
	gapForgotten = 10 * time.Second
	// gapPersist is how many gaps in a row have to stay open for it to be
	// believed that the path loses packets and does not reorder them (RFC 8985,
	// section 6.2, has this number of recoveries). Then none gets more than
	// gapLeast, until one closes in time or data is said to have arrived twice.
	gapPersist = 16
	// maxGaps is how many connections can have a gap that is remembered.
	maxGaps = 1 << 10
)

// patience keeps from the stack what acknowledgements tell of data that arrived
// out of order (SACK, RFC 2018) as long as the gap before it may close by
// itself: for a quarter of a round trip, the window that RACK begins with
// (RFC 8985, section 6.2). If it does not close, the stack is told, and of all
// that follows.
//
// The stack takes for lost what three segments have overtaken, so each late one
// would slow the connection down. Its own RACK does not help: it sees no
// reordering of what was sent again already, and where it waits, segments that
// were acknowledged out of order stay in the count of those under way when the
// gap has closed, until the connection stands almost still.
type patience struct {
	// tell gives the stack acknowledgements that were kept back. It is not
	// called with mu held.
	tell func(packets [][]byte)
	// roundTrip is that of a connection, by the key of what comes in for it; 0
	// if it is not known. It may wait for whoever uses the connection.
	roundTrip func(flowKey) time.Duration

	known atomic.Int32 // how many gaps there are
	mu    sync.Mutex
	gaps  map[flowKey]*gap // guarded by mu, and so is what it holds
	lost  int              // gaps in a row that stayed open. Guarded by mu
}

// gap is what the other end of a connection lacks, as far as it has data from
// behind it.
type gap struct {
	ack   uint32 // where the gap begins
	since time.Time
	told  bool // the stack knows of it
	// kept are the acknowledgements that were kept back, of those that tell of
	// the same block first the last.
	kept  [][]byte
	block uint32 // where the first block of the last one begins
	timer *time.Timer
}

// look looks at an incoming packet, and takes out of its options what the stack
// is not to know yet; the checksum is not valid then. It returns what the stack
// has to be given before it.
func (p *patience) look(in *inbound) (kept [][]byte) {
	s := in.tcp()
	if s == nil {
		return nil
	}
	var sack []byte
	if options := s.Options(); !onlyTimestamp(options) {
		sack = tcpOption(options, header.TCPOptionSACK)
		if len(sack)%8 != 2 || len(sack) == 2 {
			sack = nil // it is of no use
		}
	}
	if sack == nil && p.known.Load() == 0 || s.Flags()&(header.TCPFlagSyn|header.TCPFlagRst) != 0 {
		return nil
	}
	k, ack := keyOf(in.bytes, s), s.AckNumber()
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.gaps[k]
	if g != nil && int32(ack-g.ack) > 0 { // the gap has closed
		if !g.told {
			p.lost = 0
		}
		if sack == nil {
			p.forget(k, g)
			return nil
		}
		g.ack, g.since, g.kept = ack, time.Now(), nil // there is another
	}
	if sack == nil {
		return nil
	}
	keep := duplicates(sack, ack)
	if keep > 0 {
		p.lost = 0 // what was late was taken for lost
	}
	if g != nil && g.told || len(sack)/8 == keep {
		return nil
	}
	if g == nil {
		if g = p.remember(k, ack); g == nil {
			return nil
		}
	}
	if ack == g.ack && len(in.bytes) == in.headers && !g.keep(in.bytes, binary.BigEndian.Uint32(sack[2+8*keep:])) {
		return g.pass()
	}
	strip(sack, keep)
	return nil
}

// keep keeps an acknowledgement of a block back. It reports false if there are
// too many.
func (g *gap) keep(packet []byte, block uint32) bool {
	switch n := len(g.kept); {
	case n > 0 && block == g.block:
		g.kept[n-1] = append(g.kept[n-1][:0], packet...)
	case n == gapKept:
		return false
	default:
		g.kept, g.block = append(g.kept, bytes.Clone(packet)), block
	}
	return true
}

// strip takes all blocks but the first few out of a SACK option.
func strip(sack []byte, keep int) {
	nop := sack
	if keep > 0 {
		nop = sack[2+8*keep:]
		sack[1] = byte(len(sack) - len(nop))
	}
	for i := range nop {
		nop[i] = header.TCPOptionNOP
	}
}

// remember begins a gap, or returns nil if there are too many. It is called
// with mu held.
func (p *patience) remember(k flowKey, ack uint32) *gap {
	if len(p.gaps) == maxGaps {
		return nil
	}
	if p.gaps == nil {
		p.gaps = make(map[flowKey]*gap)
	}
	g := &gap{ack: ack, since: time.Now()}
	g.timer = time.AfterFunc(gapLeast, func() { p.expire(k, g) })
	p.gaps[k] = g
	p.known.Add(1)
	return g
}

// forget ends a gap. It is called with mu held.
func (p *patience) forget(k flowKey, g *gap) {
	g.timer.Stop()
	delete(p.gaps, k)
	p.known.Add(-1)
}

// pass says that the stack knows of the gap, and returns what it does not know
// yet. It is called with the mu of patience held.
func (g *gap) pass() [][]byte {
	kept := g.kept
	g.told, g.kept = true, nil
	g.timer.Reset(gapForgotten)
	return kept
}

// expire tells the stack of a gap that had its time, or forgets one that it was
// told of.
func (p *patience) expire(k flowKey, g *gap) {
	window := max(p.roundTrip(k)/4, gapLeast)
	p.mu.Lock()
	if p.gaps[k] != g {
		p.mu.Unlock()
		return
	}
	if p.lost >= gapPersist {
		window = gapLeast
	}
	var kept [][]byte
	left := window - time.Since(g.since)
	switch {
	case g.told:
		p.forget(k, g)
	case left > 0:
		g.timer.Reset(left)
	default:
		p.lost++
		kept = g.pass()
	}
	p.mu.Unlock()
	if len(kept) > 0 {
		p.tell(kept)
	}
}

// stop forgets all gaps. Nothing may be looked at any more.
func (p *patience) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, g := range p.gaps {
		p.forget(k, g)
	}
}

// duplicates is how many blocks of a SACK option tell of data that arrived
// twice: the first, or none (RFC 2883, section 4).
func duplicates(sack []byte, ack uint32) int {
	start, end := binary.BigEndian.Uint32(sack[2:]), binary.BigEndian.Uint32(sack[6:])
	if int32(start-ack) < 0 {
		return 1
	}
	if len(sack) >= 18 {
		start2, end2 := binary.BigEndian.Uint32(sack[10:]), binary.BigEndian.Uint32(sack[14:])
		if int32(start-start2) >= 0 && int32(end2-end) >= 0 {
			return 1
		}
	}
	return 0
}

// roundTrip is that of a connection, smoothed.
func (e *endpoint) roundTrip(k flowKey) time.Duration {
	s := e.stack
	if e.flows != nil && e.flows.foreign(k.dst) {
		s = e.flows.stack
	}
	id := stack.TransportEndpointID{
		LocalPort: uint16(k.ports), LocalAddress: stackAddr(k.dst),
		RemotePort: uint16(k.ports >> 16), RemoteAddress: stackAddr(k.src),
	}
	var info tcpip.TCPInfoOption
	if ep, ok := s.FindTransportEndpoint(protocolOf(k.dst), header.TCPProtocolNumber, id, nicID).(tcpip.Endpoint); ok {
		_ = ep.GetSockOpt(&info) // without one there is no round trip
	}
	return info.RTT
}
