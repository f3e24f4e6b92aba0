package netstack

import (
	"encoding/binary"
	"log/slog"
	"math/bits"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wimble-proxy/wimble/wireguard"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	// baseMTU passes everywhere, as far as this package knows (RFC 8899,
	// section 5.1.2): with WireGuard's 32 bytes and the headers of UDP and IPv6
	// it is the shortest MTU that a link for IPv6 may have.
	baseMTU = 1200
	// The lengths that are tried are the multiples of probeStep from baseMTU to
	// probeMost; most paths that are shorter than Ethernet lie between.
	probeStep, probeMost = 40, 1400
	// pathAge is how long a path is believed to take no more (RFC 8201, section
	// 4).
	pathAge = 10 * time.Minute
	// maxPaths is how many paths are remembered, one for each peer.
	maxPaths = 1 << 10
	// maxSuspects is how many segments are remembered that were sent again.
	maxSuspects = 256
	// leastTimeout is less than the stack's shortest time-out: what comes again
	// sooner comes for another reason.
	leastTimeout = 150 * time.Millisecond
	// answerTime is how long the answer to probes may take.
	answerTime = 10 * time.Second
)

// holes finds the paths that swallow long packets without a word (black holes,
// RFC 2923), by means of the data of TCP (RFC 4821). It sees time-outs alone:
// what is sent and arrives costs nothing.
//
// When the stack sends a long segment again because of a second time-out, it is
// followed by its own beginning in ever shorter packets. If the segment arrives,
// the acknowledgement is of all of it, and if nothing does, as in an outage,
// there is none; if it is of one of the beginnings, this is the longest packet
// that passes. The connection is told as by the "packet too big" that did not
// come, and those that begin later, in either direction, agree on segments that
// pass.
type holes struct {
	log *slog.Logger // nil discards

	// timeouts are the stacks' counters of TCP's time-outs. They are set before
	// the first packet.
	timeouts []*tcpip.StatCounter
	seen     atomic.Uint64 // the sum of timeouts when it was last looked at

	learnt    atomic.Bool // paths is not empty
	listening atomic.Bool // answers to probes can come

	mu       sync.Mutex
	paths    map[wireguard.Route]path // guarded by mu
	suspects map[flowKey]suspect      // guarded by mu, by the key of what goes out
	probed   tcpip.MonotonicTime      // guarded by mu; when probes were last sent
}

// path is the longest packet that a path takes.
type path struct {
	mtu   int
	until tcpip.MonotonicTime
}

// suspect is a long segment, the oldest of its connection, after a time-out.
type suspect struct {
	route wireguard.Route
	seq   uint32
	sent  tcpip.MonotonicTime
	// size is the length of its packet, and headers of the headers in it.
	size, headers int
	probed        bool
}

// start is given the stacks.
func (h *holes) start(stacks []*stack.Stack, log *slog.Logger) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h.log = log
	for _, s := range stacks {
		h.timeouts = append(h.timeouts, s.Stats().TCP.Timeouts)
	}
}

// timedOut reports whether there were time-outs since it was called last. The
// packet that a connection sends next may be another's first; the one that is
// missed comes again.
func (h *holes) timedOut() bool {
	var n uint64
	for _, c := range h.timeouts {
		n += c.Value()
	}
	return n != h.seen.Load() && n != h.seen.Swap(n)
}

// probe looks at a single long segment that was queued after a time-out, and
// sends its beginnings after it if that was not the first.
func (e *endpoint) probe(r wireguard.Route, pkt *stack.PacketBuffer) {
	tcp := header.TCP(pkt.TransportHeader().Slice())
	s := suspect{
		route: r, seq: tcp.SequenceNumber(), sent: e.now(),
		size: pkt.Size(), headers: pkt.HeaderSize(),
	}
	if mtu := e.holes.mtu(r, s.sent); mtu > 0 && s.size > mtu {
		e.report(tooBig(keyOf(pkt.NetworkHeader().Slice(), tcp), mtu)) // the connection is older
		return
	}
	if !e.holes.again(keyOf(pkt.NetworkHeader().Slice(), tcp), s) {
		return
	}
	for n := longestProbe(s.size); n >= baseMTU; n -= probeStep {
		var cut segmenter
		cut.init(pkt)
		cut.mss = n - s.headers
		e.queue.add(r, n, cut.write)
	}
}

// longestProbe is the first length to try if packets of size bytes do not pass.
func longestProbe(size int) int { return min(probeMost, (size-1)/probeStep*probeStep) }

// again remembers a segment, and reports whether it was so before.
func (h *holes) again(k flowKey, s suspect) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, ok := h.suspects[k]
	if ok && before.seq == s.seq {
		if s.sent.Sub(before.sent) < leastTimeout {
			return false
		}
		s.probed = true
		h.probed = s.sent
		h.listening.Store(true)
	}
	if h.suspects == nil {
		h.suspects = make(map[flowKey]suspect)
	}
	if !ok && len(h.suspects) == maxSuspects {
		h.forgetOldest()
	}
	h.suspects[k] = s
	return s.probed
}

// forgetOldest makes room for a suspect. It is called with mu held.
func (h *holes) forgetOldest() {
	var oldest flowKey
	var since tcpip.MonotonicTime
	for k, s := range h.suspects {
		if !oldest.src.IsValid() || s.sent.Before(since) {
			oldest, since = k, s.sent
		}
	}
	delete(h.suspects, oldest)
}

// mtu is what the path takes, or 0 if nothing is known.
func (h *holes) mtu(r wireguard.Route, now tcpip.MonotonicTime) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p, ok := h.paths[r]; ok && now.Before(p.until) {
		return p.mtu
	}
	return 0
}

// measure looks at an incoming packet, before the stack does, for what it says
// of the path.
func (e *endpoint) measure(in *inbound) {
	h := &e.holes
	if !h.learnt.Load() && !h.listening.Load() {
		return
	}
	s := in.tcp()
	switch {
	case s == nil:
	case s.Flags()&header.TCPFlagSyn != 0:
		e.clamp(s, source(in.bytes))
	case h.listening.Load():
		k := keyOf(in.bytes, s)
		k.src, k.dst, k.ports = k.dst, k.src, bits.RotateLeft32(k.ports, 16)
		mtu, news := h.answer(k, s.AckNumber(), e.now())
		if news {
			h.log.Info("longer packets do not arrive at a peer, whose path has a smaller MTU than the tunnel: set it to", "mtu", mtu)
		}
		if mtu > 0 {
			// The stack has to hear of it first: then it begins again with the
			// segment of which only a part arrived.
			e.tell(tooBig(k, mtu))
		}
	}
}

// answer takes an acknowledgement. If it is of a probe, it returns the length
// of its packet and whether that is news, and else 0.
func (h *holes) answer(k flowKey, ack uint32, now tcpip.MonotonicTime) (mtu int, news bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.probed) > answerTime {
		h.listening.Store(false)
		return 0, false
	}
	s, ok := h.suspects[k]
	if !ok || int32(ack-s.seq) <= 0 {
		return 0, false
	}
	delete(h.suspects, k)
	size := s.headers + int(ack-s.seq)
	if !s.probed || size < baseMTU || size > longestProbe(s.size) || size%probeStep != 0 {
		return 0, false
	}
	return size, h.learn(s.route, path{size, now.Add(pathAge)})
}

// learn remembers what a path takes, and reports whether that differs from what
// was learnt last. It is called with mu held.
func (h *holes) learn(r wireguard.Route, p path) bool {
	before, ok := h.paths[r]
	if h.paths == nil || !ok && len(h.paths) == maxPaths {
		h.paths = make(map[wireguard.Route]path) // what is still true is learnt again
	}
	h.paths[r] = p
	h.learnt.Store(true)
	return before.mtu != p.mtu
}

// clamp makes both ends of a connection with the remote one, which one of them
// begins with s, send no segments that are too long for the path: it lowers the
// maximum segment size that s announces.
func (e *endpoint) clamp(s header.TCP, remote netip.Addr) {
	r, err := e.route(remote)
	if err != nil {
		return
	}
	mtu := e.holes.mtu(r, e.now())
	option := tcpOption(s.Options(), header.TCPOptionMSS)
	if mtu == 0 || len(option) != header.TCPOptionMSSLength {
		return
	}
	option = option[2:]
	mss, most := binary.BigEndian.Uint16(option), uint16(mtu-networkHeader(remote)-header.TCPMinimumSize)
	if mss <= most {
		return
	}
	// The option of our own is the first one, where 16 bits of the checksum
	// begin; of another's, the checksum was verified.
	binary.BigEndian.PutUint16(option, most)
	s.SetChecksum(^checksum.Combine(checksum.Combine(^s.Checksum(), ^mss), most)) // RFC 1624
}

// tooBig tells a connection, by the key of what goes out, how long its packets
// may be.
func tooBig(k flowKey, mtu int) unreachable {
	u := unreachable{
		net: protocolOf(k.dst), local: stackAddr(k.src), remote: stackAddr(k.dst),
		kind: stack.PacketTooBigTransportError,
		info: uint32(mtu - networkHeader(k.dst)), // as the stack has it
	}
	binary.BigEndian.PutUint32(u.transport[:], k.ports)
	return u
}

// networkHeader is the length of the header of an address's family.
func networkHeader(a netip.Addr) int {
	if a.Is4() {
		return header.IPv4MinimumSize
	}
	return header.IPv6MinimumSize
}

// now is the stack's time.
func (e *endpoint) now() tcpip.MonotonicTime { return e.stack.Clock().NowMonotonic() }
