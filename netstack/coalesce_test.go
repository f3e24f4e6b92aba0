package netstack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// timestamp are the options of most segments, and sack those of one that tells
// of a gap.
var (
	timestamp = []byte{1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9}
	later     = []byte{1, 1, 8, 10, 0, 0, 0, 8, 0, 0, 0, 9}
	sack      = append([]byte{1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9, 1, 1, 5, 10}, make([]byte, 8)...)
)

// tcpOf is a segment of the right side to the left one, and change what differs
// from the usual.
func tcpOf(six bool, seq, ack uint32, data []byte, options []byte, change func(ip []byte, s header.TCP)) []byte {
	src, dst := right4, left4
	if six {
		src, dst = right6, left6
	}
	s := header.TCP(make([]byte, header.TCPMinimumSize, header.TCPMinimumSize+len(options)+len(data)))
	s.Encode(&header.TCPFields{
		SrcPort: 9, DstPort: 7, SeqNum: seq, AckNum: ack, WindowSize: 1000, Flags: header.TCPFlagAck,
		DataOffset: uint8(header.TCPMinimumSize + len(options)),
	})
	s = append(append(s, options...), data...)
	if change != nil {
		change(make([]byte, header.IPv6MinimumSize), s)
	}
	p := withChecksum(src, dst, s)
	if change != nil {
		change(p, header.TCP(make([]byte, header.TCPMinimumSize)))
		if !six {
			header.IPv4(p).SetChecksum(0)
			header.IPv4(p).SetChecksum(^header.IPv4(p).CalculateChecksum())
		}
	}
	return p
}

// coalesced is what the stack is given of a delivery.
func coalesced(t testing.TB, packets [][]byte) (out [][]byte, stats *counters) {
	e := newEndpoint(&wire{mtu: wireguard.DefaultMTU})
	c := &coalescer{stats: &e.stats, hand: func(in *inbound, pkt *stack.PacketBuffer) {
		defer pkt.DecRef()
		p := pkt.ToView()
		defer p.Release()
		out = append(out, bytes.Clone(p.AsSlice()))
		if again := e.inspect(p.AsSlice()); len(again.bytes) != p.Size() || again.version == header.IPv4Version && !header.IPv4(again.bytes).IsChecksumValid() {
			t.Errorf("the header of % x does not fit it", p.AsSlice())
		}
		if in.verdict == verified && !pkt.RXChecksumValidated {
			t.Error("the stack was told to verify a checksum again")
		}
	}}
	for _, p := range packets {
		if in := e.inspect(p); in.verdict == verified || in.verdict == unverified {
			c.add(&in)
		}
	}
	c.flush()
	for i := range c.runs {
		if r := &c.runs[i]; r.first.bytes != nil || len(r.pieces) > 0 || cap(r.pieces) > 0 && r.pieces[:1][0] != nil {
			t.Errorf("run %d still has a packet", i)
		}
	}
	return out, &e.stats
}

func TestCoalesce(t *testing.T) {
	data := noise(1, 5000)
	flags := func(f header.TCPFlags) func([]byte, header.TCP) {
		return func(_ []byte, s header.TCP) { s.SetFlags(uint8(f)) }
	}
	const ack, push = header.TCPFlagAck, header.TCPFlagPsh
	for _, six := range []bool{false, true} {
		of := func(seq, ack uint32, from, to int, options []byte, change func([]byte, header.TCP)) []byte {
			return tcpOf(six, seq, ack, data[from:to], options, change)
		}
		ipByte := func(four, sixth int, bit byte) func([]byte, header.TCP) {
			return func(ip []byte, _ header.TCP) {
				if six {
					four = sixth
				}
				ip[four] ^= bit
			}
		}
		first := of(1, 1, 0, 1000, timestamp, nil)
		for _, c := range []struct {
			name  string
			in    [][]byte
			sizes []int // of the data in what comes out
		}{
			{"a row", [][]byte{first, of(1001, 1, 1000, 2000, timestamp, nil), of(2001, 1, 2000, 3000, timestamp, nil)}, []int{3000}},
			{"a shorter last one ends it", [][]byte{first, of(1001, 1, 1000, 1999, timestamp, nil), of(2000, 1, 1999, 2998, timestamp, nil)}, []int{1999, 999}},
			{"a longer one", [][]byte{first, of(1001, 1, 1000, 2001, timestamp, nil)}, []int{1000, 1001}},
			{"a push ends it", [][]byte{first, of(1001, 1, 1000, 2000, timestamp, flags(ack|push)), of(2001, 1, 2000, 3000, timestamp, nil)}, []int{2000, 1000}},
			{"a push at first", [][]byte{of(1, 1, 0, 1000, timestamp, flags(ack|push)), of(1001, 1, 1000, 2000, timestamp, nil)}, []int{1000, 1000}},
			{"a gap", [][]byte{first, of(1002, 1, 1000, 2000, timestamp, nil)}, []int{1000, 1000}},
			{"the same again", [][]byte{first, first}, []int{1000, 1000}},
			{"the wrong order", [][]byte{of(1001, 1, 1000, 2000, timestamp, nil), first}, []int{1000, 1000}},
			{"it acknowledges more", [][]byte{first, of(1001, 2, 1000, 2000, timestamp, nil)}, []int{1000, 1000}},
			{"another window", [][]byte{first, of(1001, 1, 1000, 2000, timestamp, func(_ []byte, s header.TCP) { s.SetWindowSize(999) })}, []int{1000, 1000}},
			{"another timestamp", [][]byte{first, of(1001, 1, 1000, 2000, later, nil)}, []int{1000, 1000}},
			{"no options", [][]byte{first, of(1001, 1, 1000, 2000, nil, nil)}, []int{1000, 1000}},
			{"an end", [][]byte{first, of(1001, 1, 1000, 2000, timestamp, flags(ack|header.TCPFlagFin)), of(2001, 1, 2000, 3000, timestamp, nil)}, []int{1000, 1000, 1000}},
			{"a reset", [][]byte{first, of(1001, 1, 1000, 2000, timestamp, flags(ack|header.TCPFlagRst))}, []int{1000, 1000}},
			{"urgent data", [][]byte{first, of(1001, 1, 1000, 2000, timestamp, flags(ack|header.TCPFlagUrg))}, []int{1000, 1000}},
			{"congestion experienced", [][]byte{first, of(1001, 1, 1000, 2000, timestamp, ipByte(1, 1, 0x30))}, []int{1000, 1000}},
			{"congestion echoed", [][]byte{first, of(1001, 1, 1000, 2000, timestamp, flags(ack|header.TCPFlagEce))}, []int{1000, 1000}},
			{"congestion echoed by a reserved bit", [][]byte{first, of(1001, 1, 1000, 2000, timestamp, func(_ []byte, s header.TCP) { s[12] |= 1 })}, []int{1000, 1000}},
			{"congestion window reduced", [][]byte{first, of(1001, 1, 1000, 2000, timestamp, flags(ack|header.TCPFlagCwr))}, []int{1000, 1000}},
			{"no acknowledgement", [][]byte{first, of(1001, 1, 1000, 2000, timestamp, flags(0))}, []int{1000, 1000}},
			{"another TTL", [][]byte{first, of(1001, 1, 1000, 2000, timestamp, ipByte(8, 7, 1))}, []int{1000, 1000}},
			{"it may not be fragmented", [][]byte{first, of(1001, 1, 1000, 2000, timestamp, ipByte(6, 3, 0x40))}, []int{1000, 1000}},
			{"another ID", [][]byte{first, of(1001, 1, 1000, 2000, timestamp, func(ip []byte, _ header.TCP) {
				if !six {
					ip[5]++
				}
			})}, []int{2000}},
			{"corrupt in the middle", [][]byte{first, edited(of(1001, 1, 1000, 2000, timestamp, nil), func(p []byte) { p[len(p)-1] ^= 1 }), of(2001, 1, 2000, 3000, timestamp, nil)}, []int{1000, 1000}},
			{"another flow between", [][]byte{first, of(1, 1, 0, 700, timestamp, func(_ []byte, s header.TCP) { s.SetSourcePort(10) }), of(1001, 1, 1000, 2000, timestamp, nil)}, []int{2000, 700}},
			{"another family between", [][]byte{first, tcpOf(!six, 1, 1, data[:700], timestamp, nil), of(1001, 1, 1000, 2000, timestamp, nil)}, []int{2000, 700}},
			{"a fragment between", [][]byte{first, fragments(udpPacket(right4, left4, "a longer datagram"), 16)[0], of(1001, 1, 1000, 2000, timestamp, nil)}, []int{1000, -1, 1000}},
			{"a datagram between", [][]byte{first, udpPacket(right4, left4, "x"), of(1001, 1, 1000, 2000, timestamp, nil)}, []int{-1, 2000}},

			{"acknowledgements", [][]byte{of(1, 1, 0, 0, timestamp, nil), of(1, 2, 0, 0, later, nil), of(1, 5, 0, 0, later, nil)}, []int{0}},
			{"a duplicate", [][]byte{of(1, 1, 0, 0, timestamp, nil), of(1, 1, 0, 0, timestamp, nil)}, []int{0, 0}},
			{"a duplicate, and then more", [][]byte{of(1, 1, 0, 0, timestamp, nil), of(1, 1, 0, 0, timestamp, nil), of(1, 2, 0, 0, timestamp, nil), of(1, 3, 0, 0, timestamp, nil)}, []int{0, 0, 0}},
			{"an older one", [][]byte{of(1, 5, 0, 0, timestamp, nil), of(1, 4, 0, 0, timestamp, nil)}, []int{0, 0}},
			{"a gap is told of", [][]byte{of(1, 1, 0, 0, timestamp, nil), of(1, 2, 0, 0, sack, nil), of(1, 3, 0, 0, timestamp, nil)}, []int{0, 0, 0}},
			{"no timestamp", [][]byte{of(1, 1, 0, 0, nil, nil), of(1, 2, 0, 0, nil, nil)}, []int{0, 0}},
			{"congestion is told of", [][]byte{of(1, 1, 0, 0, timestamp, nil), of(1, 2, 0, 0, timestamp, flags(ack|header.TCPFlagEce)), of(1, 3, 0, 0, timestamp, nil)}, []int{0, 0, 0}},
			{"one met congestion", [][]byte{of(1, 1, 0, 0, timestamp, ipByte(1, 1, 0x30)), of(1, 2, 0, 0, timestamp, nil)}, []int{0, 0}},
			{"only the window is larger", [][]byte{of(1, 1, 0, 0, timestamp, nil), of(1, 1, 0, 0, timestamp, func(_ []byte, s header.TCP) { s.SetWindowSize(2000) })}, []int{0, 0}},
			{"a push", [][]byte{of(1, 1, 0, 0, timestamp, flags(ack|push)), of(1, 2, 0, 0, timestamp, nil)}, []int{0, 0}},
			{"another sequence number", [][]byte{of(1, 1, 0, 0, timestamp, nil), of(2, 2, 0, 0, timestamp, nil)}, []int{0, 0}},
			{"around data", [][]byte{of(1, 1, 0, 0, timestamp, nil), of(1, 2, 0, 1000, timestamp, nil), of(1001, 3, 0, 0, timestamp, nil)}, []int{0, 1000, 0}},
			{"a probe of the same data's end", [][]byte{of(0, 1, 0, 0, timestamp, nil), first}, []int{0, 1000}},
		} {
			out, _ := coalesced(t, c.in)
			var sizes []int
			for _, p := range out {
				size := -1 // it is no segment
				if isTCP(p) {
					size = len(p) - ipHeader(p) - int(header.TCP(p[ipHeader(p):]).DataOffset())
				}
				sizes = append(sizes, size)
			}
			if fmt.Sprint(sizes) != fmt.Sprint(c.sizes) {
				t.Errorf("IPv6 %v: %s: data of %v; want %v", six, c.name, sizes, c.sizes)
			}
			explain(t, c.in, out)
		}
	}
}

// No packet is longer than an IP header can say.
func TestCoalesceLength(t *testing.T) {
	for _, six := range []bool{false, true} {
		var in [][]byte
		data := noise(2, 1400)
		for i := range uint32(100) {
			in = append(in, tcpOf(six, i*1400, 1, data, timestamp, nil))
		}
		out, stats := coalesced(t, in)
		explain(t, in, out)
		if len(out) != 3 || int(stats.coalesceSegments.Load()) != len(in)-len(out) {
			t.Errorf("IPv6 %v: %d packets came out, %d merged", six, len(out), stats.coalesceSegments.Load())
		}
	}
}

// More flows than there are runs lose no packet and no order.
func TestCoalesceManyFlows(t *testing.T) {
	var in [][]byte
	for i := range uint32(4) {
		for port := range uint16(3 * maxRuns) {
			in = append(in, tcpOf(false, i*100, 1, noise(uint64(i), 100), timestamp, func(_ []byte, s header.TCP) { s.SetSourcePort(port) }))
		}
	}
	out, _ := coalesced(t, in)
	explain(t, in, out)
}

// explain checks that out is what the stack may be given instead of in: in each
// flow the same packets in the same order, but that some are one, and that
// some acknowledgements are missing before one of more.
func explain(t testing.TB, in, out [][]byte) {
	t.Helper()
	type flow struct {
		dst   netip.Addr
		ports uint32
	}
	flows := map[flow][2][]header.TCP{}
	for side, packets := range [][][]byte{in, out} {
		for _, p := range packets {
			if found := newEndpoint(&wire{}).inspect(p); !isTCP(p) || side == 0 && found.verdict != verified {
				continue
			}
			k := flow{dst: destination(p), ports: binary.BigEndian.Uint32(p[ipHeader(p):])}
			both := flows[k]
			both[side] = append(both[side], header.TCP(p[ipHeader(p):]))
			flows[k] = both
		}
	}
	for k, both := range flows {
		in, out := both[0], both[1]
		for _, got := range out {
			// Acknowledgements of less may be missing.
			for len(in) > 1 && !sameSegment(in[0], got) && len(got.Payload()) == 0 && len(in[0].Payload()) == 0 &&
				int32(got.AckNumber()-in[0].AckNumber()) > 0 && onlyTimestamp(in[0].Options()) && in[0].Flags() == header.TCPFlagAck {
				if in[1].AckNumber() == in[0].AckNumber() {
					t.Errorf("%v: a duplicate acknowledgement was lost", k)
				}
				in = in[1:]
			}
			at, data := uint32(0), got.Payload()
			for first := true; first || len(data) > 0; first = false {
				if len(in) == 0 {
					t.Fatalf("%v: a segment came from nowhere: % x", k, []byte(got))
				}
				piece := in[0]
				in = in[1:]
				last := len(piece.Payload()) == len(data)
				if piece.SequenceNumber() != got.SequenceNumber()+at || piece.AckNumber() != got.AckNumber() ||
					piece.WindowSize() != got.WindowSize() || !bytes.Equal(piece.Options(), got.Options()) ||
					!bytes.HasPrefix(data, piece.Payload()) ||
					last && piece.Flags() != got.Flags() || !last && piece.Flags()|got.Flags()&header.TCPFlagPsh != got.Flags() {
					t.Fatalf("%v: % x became part of % x", k, []byte(piece[:20]), []byte(got[:20]))
				}
				at += uint32(len(piece.Payload()))
				data = data[len(piece.Payload()):]
			}
		}
		if len(in) > 0 {
			t.Errorf("%v: %d segments were lost", k, len(in))
		}
	}
}

// sameSegment ignores checksums.
func sameSegment(a, b header.TCP) bool {
	return bytes.Equal(a[:header.TCPChecksumOffset], b[:header.TCPChecksumOffset]) && bytes.Equal(a.Options(), b.Options())
}

// FuzzCoalesce makes deliveries of a few flows out of bytes.
func FuzzCoalesce(f *testing.F) {
	f.Add([]byte{0, 0, 0, 4, 0, 0, 4, 0, 0, 4, 0, 0})
	f.Add([]byte{1, 1, 0, 1, 1, 0, 5, 2, 0, 1, 3, 0, 0x81, 0, 0, 0x81, 0, 0x20})
	f.Add([]byte{0x40, 0, 1, 0x40, 0, 2, 0x80, 0, 3, 0x40, 0, 3, 0x40, 0, 4})
	f.Fuzz(func(t *testing.T, ops []byte) {
		type state struct{ seq, ack uint32 }
		var flows [4]state
		var in [][]byte
		for ; len(ops) >= 3 && len(in) < 200; ops = ops[3:] {
			s := &flows[ops[0]&3]
			size := int(ops[0]>>2&7) * 200
			if ops[0]&0x40 != 0 {
				size, s.ack = 0, s.ack+uint32(ops[2]&3)
			}
			data := noise(uint64(s.seq), size)
			options := [][]byte{timestamp, nil, later, sack}[ops[1]&3]
			p := tcpOf(ops[0]&1 != 0, s.seq, s.ack, data, options, func(ip []byte, seg header.TCP) {
				seg.SetSourcePort(uint16(ops[0] & 3))
				seg.SetFlags(uint8(header.TCPFlagAck))
				switch ops[2] >> 5 {
				case 1:
					seg.SetFlags(uint8(header.TCPFlagAck | header.TCPFlagPsh))
				case 2:
					seg.SetFlags(ops[1])
				case 3:
					seg.SetWindowSize(uint16(ops[1]))
				case 4:
					ip[8] = ops[1] // TTL, or an address
				}
			})
			if ops[0]&0x80 != 0 { // again, or lost
				in = append(in, p)
			}
			if ops[1]&0x80 == 0 {
				s.seq += uint32(size)
			}
			in = append(in, p)
		}
		before := fmt.Sprint(in)
		out, stats := coalesced(t, in)
		explain(t, in, out)
		if merged := int(stats.coalesceSegments.Load() + stats.coalesceAcks.Load()); merged+len(out) > len(in) {
			t.Errorf("%d packets became %d, %d merged", len(in), len(out), merged)
		}
		if fmt.Sprint(in) != before {
			t.Error("a packet was changed")
		}
	})
}

// A packet that is merged costs no allocation, and neither does one that is
// dropped.
func TestDeliverAllocates(t *testing.T) {
	n := &Net{}
	w := newWire(t, wireguard.DefaultMTU, nil)
	if err := n.start(w, []netip.Prefix{netip.PrefixFrom(left4, 32)}, stackOptions()); err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	var row [][]byte
	for i := range uint32(40) {
		row = append(row, tcpOf(false, i*1000, 1, noise(3, 1000), timestamp, nil)) // of no connection
		row = append(row, edited(row[0], func(p []byte) { p[40] ^= 1 }))
	}
	if allocs := testing.AllocsPerRun(100, func() { n.deliver(row) }); allocs > 20 { // for one packet, and the reset
		t.Errorf("%v allocations for %d packets", allocs, len(row))
	}
}
