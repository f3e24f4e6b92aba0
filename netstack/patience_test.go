package netstack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wimble-proxy/wimble/wireguard"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// ackOf acknowledges up to a number, and blocks behind it.
func ackOf(six bool, ack uint32, data string, blocks ...uint32) []byte {
	options := slices.Clone(timestamp)
	if len(blocks) > 0 {
		options = append(options, 1, 1, 5, byte(2+4*len(blocks)))
		for _, b := range blocks {
			options = binary.BigEndian.AppendUint32(options, b)
		}
	}
	return tcpOf(six, 1, ack, []byte(data), options, nil)
}

// told is what a packet tells a stack: "ack+data [block block]".
func told(packet []byte) string {
	network := header.IPv4MinimumSize
	if header.IPVersion(packet) == header.IPv6Version {
		network = header.IPv6MinimumSize
	}
	s := header.TCP(packet[network:])
	text := fmt.Sprint(s.AckNumber())
	if n := len(s.Payload()); n > 0 {
		text += fmt.Sprintf("+%d", n)
	}
	if blocks := s.ParsedOptions().SACKBlocks; len(blocks) > 0 {
		text += fmt.Sprint(" ", blocks)
	}
	return text
}

// TestPatience: what the stack is told of what comes in, and when, for a
// connection with a round trip of 40 ms.
func TestPatience(t *testing.T) {
	const ms = time.Millisecond
	type incoming struct {
		after  time.Duration
		ack    uint32
		blocks []uint32
		data   string
	}
	plain := func(after time.Duration, ack uint32) incoming { return incoming{after: after, ack: ack} }
	gap := func(after time.Duration, ack uint32, blocks ...uint32) incoming {
		return incoming{after, ack, blocks, ""}
	}
	many, manyWant := []incoming{}, []string{}
	for i := range uint32(gapKept + 1) {
		many = append(many, gap(0, 10, 20+10*i, 25+10*i))
		if i < gapKept {
			manyWant = append(manyWant, "0s 10")
		}
	}
	for i := range uint32(gapKept + 1) {
		manyWant = append(manyWant, fmt.Sprintf("0s 10 [{%d %d}]", 20+10*i, 25+10*i))
	}
	for _, c := range []struct {
		name string
		in   []incoming
		want []string
	}{
		{"a gap that closes", []incoming{gap(0, 10, 20, 30), gap(5*ms, 10, 20, 40), plain(4*ms, 40), gap(ms, 50, 60, 70)}, []string{
			"0s 10", "5ms 10", "9ms 40", "10ms 50", "20ms 50 [{60 70}]",
		}},
		{"a gap that stays", []incoming{gap(0, 10, 20, 30), gap(5*ms, 10, 20, 40), gap(6*ms, 10, 20, 50), plain(ms, 50), gap(0, 50, 60, 70)}, []string{
			"0s 10", "5ms 10", "10ms 10 [{20 40}]", "11ms 10 [{20 50}]", "12ms 50", "12ms 50", "22ms 50 [{60 70}]",
		}},
		{"each gap has its time", []incoming{gap(0, 10, 20, 30), gap(8*ms, 30, 40, 50), gap(4*ms, 30, 40, 60)}, []string{
			"0s 10", "8ms 30", "12ms 30", "18ms 30 [{40 60}]",
		}},
		{"nothing of several is forgotten", []incoming{gap(0, 10, 20, 30), gap(0, 10, 40, 50, 20, 30), gap(0, 10, 40, 60, 20, 30)}, []string{
			"0s 10", "0s 10", "0s 10", "10ms 10 [{20 30}]", "10ms 10 [{40 60} {20 30}]",
		}},
		{"so much that it must be lost", many, manyWant},
		{"one gap of those the stack knows of closes", []incoming{gap(0, 10, 40, 50, 20, 30), gap(12*ms, 30, 40, 60), plain(0, 60)}, []string{
			"0s 10", "10ms 10 [{40 50} {20 30}]", "12ms 30 [{40 60}]", "12ms 60",
		}},
		{"what arrived twice", []incoming{gap(0, 10, 5, 10), gap(0, 10, 5, 10, 20, 30), gap(0, 10, 22, 24, 20, 30), plain(0, 30)}, []string{
			"0s 10 [{5 10}]", "0s 10 [{5 10}]", "0s 10 [{22 24}]", "0s 30",
		}},
		{"with data", []incoming{{0, 10, []uint32{20, 30}, "abc"}, {0, 10, nil, "def"}}, []string{"0s 10+3", "0s 10+3"}},
		{"an acknowledgement that is late itself", []incoming{gap(0, 10, 20, 30), gap(0, 8, 20, 25), plain(0, 10)}, []string{
			"0s 10", "0s 8", "0s 10", "10ms 10 [{20 30}]",
		}},
		{"numbers that wrap", []incoming{gap(0, 1<<32-10, 1<<32-5, 5), plain(0, 5), gap(0, 5, 1<<32-10, 5)}, []string{
			"0s 4294967286", "0s 5", "0s 5 [{4294967286 5}]",
		}},
	} {
		for _, six := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				var mu sync.Mutex
				var got []string
				see := func(packets [][]byte) {
					mu.Lock()
					defer mu.Unlock()
					for _, p := range packets {
						got = append(got, fmt.Sprint(time.Since(begin), " ", told(p)))
					}
				}
				e := newEndpoint(&wire{mtu: wireguard.DefaultMTU})
				p := patience{tell: see, roundTrip: func(k flowKey) time.Duration {
					if src, dst := right4, left4; !six && k != (flowKey{src, dst, 9<<16 | 7}) {
						t.Errorf("asked for the round trip of %v", k)
					}
					return 40 * ms
				}}
				for _, i := range c.in {
					time.Sleep(i.after)
					synctest.Wait()
					in := e.inspect(ackOf(six, i.ack, i.data, i.blocks...))
					see(p.look(&in))
					see([][]byte{in.bytes})
				}
				time.Sleep(gapForgotten - time.Millisecond)
				synctest.Wait()
				if !slices.Equal(got, c.want) {
					t.Errorf("%s, IPv6 %v:\n%q, want\n%q", c.name, six, got, c.want)
				}
				time.Sleep(2 * gapForgotten)
				if n := p.known.Load(); n != 0 || len(p.gaps) != 0 {
					t.Errorf("%s: %d gaps are remembered for ever", c.name, n)
				}
			})
		}
	}
}

// After many gaps that stayed open none gets its time, until one closes by
// itself or something has arrived twice.
func TestPatienceEnds(t *testing.T) {
	const ms = time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(&wire{mtu: wireguard.DefaultMTU})
		told := make(chan time.Time, 1)
		p := patience{roundTrip: func(flowKey) time.Duration { return 40 * ms }, tell: func([][]byte) { told <- time.Now() }}
		look := func(ack uint32, blocks ...uint32) {
			in := e.inspect(ackOf(false, ack, "", blocks...))
			p.look(&in)
		}
		ack := uint32(0)
		loses := func(want time.Duration) {
			t.Helper()
			ack += 100
			begin := time.Now()
			look(ack, ack+10, ack+20)
			if got := (<-told).Sub(begin); got != want {
				t.Fatalf("the stack was told after %v, want %v", got, want)
			}
			ack += 20
			look(ack)
		}
		many := func() {
			t.Helper()
			for range gapPersist {
				loses(10 * ms)
			}
			loses(ms)
		}
		many()
		look(ack, ack-10, ack) // twice
		many()
		look(ack, ack+10, ack+20)
		look(ack + 20) // in time
		many()
		p.stop()
	})
}

// No more gaps are remembered than there is room for, and none after the end.
func TestPatienceIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(&wire{mtu: wireguard.DefaultMTU})
		p := patience{roundTrip: func(flowKey) time.Duration { return 0 }, tell: func([][]byte) { t.Error("told") }}
		for port := range uint16(maxGaps + 1) {
			options := append(slices.Clone(timestamp), 1, 1, 5, 10, 0, 0, 0, 20, 0, 0, 0, 30)
			in := e.inspect(tcpOf(false, 1, 10, nil, options, func(_ []byte, s header.TCP) { s.SetSourcePort(port + 1) }))
			before := in.tcp().ParsedOptions().SACKBlocks
			p.look(&in)
			if after := in.tcp().ParsedOptions().SACKBlocks; len(before) != 1 || (len(after) == 1) != (port == maxGaps) {
				t.Fatalf("connection %d: %v became %v", port, before, after)
			}
		}
		p.stop()
		if p.known.Load() != 0 {
			t.Error("gaps are left")
		}
		time.Sleep(time.Minute)
	})
}

// What overtakes other data on the way is not taken for a loss.
func TestTCPOverReorderingLink(t *testing.T) {
	p := newPair(t)
	p.left.nic.gaps.roundTrip = func(flowKey) time.Duration { return time.Hour }
	n := 0
	var late []byte
	p.fromLeft.set(func() {
		p.fromLeft.edit = func(packet []byte) []byte {
			s, err := segment(packet)
			if err != nil || len(s.Payload()) == 0 && s.Flags()&header.TCPFlagFin == 0 {
				return packet
			}
			n++
			switch {
			case late == nil && n%30 == 0:
				late = packet
				return nil
			case late != nil && (n%30 == 15 || s.Flags()&header.TCPFlagFin != 0):
				p.fromLeft.inbox = append(p.fromLeft.inbox, [][]byte{late})
				late = nil
			}
			return packet
		}
	})
	dialed, accepted := p.connect(t, right4)
	data := noise(4, 4<<20)
	go func() {
		_, _ = dialed.Write(data)
		dialed.CloseWrite()
	}()
	if got, err := io.ReadAll(accepted); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	// Timers may have sent something again: the test may be slow.
	if lost := p.left.stack.Stats().TCP.FastRetransmit.Value(); lost != 0 {
		t.Errorf("%d of %d segments were taken for lost", lost, n)
	}
}
