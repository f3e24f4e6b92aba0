package netstack

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard"
	"gvisor.dev/gvisor/pkg/tcpip/faketime"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// hole is a wire that swallows what is too long. Its fields are guarded by the
// wire's mu.
type hole struct {
	wire    *wire
	most    int               // length of the longest packet that passes, 0 for all
	loses   func([]byte) bool // what is lost beside that; nil for nothing
	longest int               // of the packets that passed
	lost    map[int]int       // how many were too long, by length
	clock   *faketime.ManualClock
}

func newHole(w *wire, clock *faketime.ManualClock, most int) *hole {
	h := &hole{wire: w, most: most, lost: map[int]int{}, clock: clock}
	w.set(func() {
		w.edit = func(packet []byte) []byte {
			switch {
			case h.most > 0 && len(packet) > h.most:
				h.lost[len(packet)]++
				return nil
			case h.loses != nil && h.loses(packet):
				return nil
			}
			h.longest = max(h.longest, len(packet))
			return packet
		}
	})
	return h
}

// seen returns the longest packet that passed, and what was too long, since it
// was called last.
func (h *hole) seen() (longest int, lost map[int]int) {
	h.wire.set(func() {
		longest, lost = h.longest, h.lost
		h.longest, h.lost = 0, map[int]int{}
	})
	return longest, lost
}

// carry sends n bytes from one end of a connection to the other, and returns
// how much of the stack's time had to pass.
func (h *hole) carry(t *testing.T, from, to io.ReadWriter, n int) (passed time.Duration) {
	t.Helper()
	data := noise(7, n)
	results := make(chan error, 2)
	go func() {
		_, err := from.Write(data)
		results <- err
	}()
	go func() {
		got := make([]byte, n)
		_, err := io.ReadFull(to, got)
		if err == nil && !bytes.Equal(got, data) {
			err = errors.New("the data differ")
		}
		results <- err
	}()
	for range cap(results) {
		for waiting := true; waiting; {
			select {
			case err := <-results:
				if err != nil {
					t.Fatal(err)
				}
				waiting = false
			case <-time.After(2 * time.Millisecond):
				h.clock.Advance(100 * time.Millisecond)
				if passed += 100 * time.Millisecond; passed > 10*time.Minute {
					t.Fatalf("%d bytes do not arrive", n)
				}
			}
		}
	}
	return passed
}

// passes is what a side knows of the path.
func passes(n *Net) int { return n.nic.holes.mtu(wireguard.Route{}, n.nic.now()) }

func TestBlackHole(t *testing.T) {
	for _, c := range []struct {
		to         netip.Addr
		most, want int
	}{
		{right4, 1380, 1360},
		{right4, 1300, 1280},
		{right6, 1300, 1280},
		{right4, 1280, 1280},
		{right4, 1220, 1200},
		{right6, 1200, 1200},
	} {
		clock, option := manualClock()
		p := newPair(t, option)
		var log strings.Builder
		p.left.nic.holes.log = slog.New(slog.NewTextHandler(&log, nil))
		h := newHole(p.fromLeft, clock, c.most)
		older, olderFar := p.connect(t, c.to)
		dialed, accepted := p.connect(t, c.to)
		took := h.carry(t, dialed, accepted, 1<<20)
		longest, lost := h.seen()
		t.Logf("%v, %d bytes pass: %v, lost %v", c.to, c.most, took, lost)
		if mtu := passes(p.left); mtu != c.want || longest > c.want {
			t.Errorf("%v: where %d bytes pass, %d do, and the longest had %d; want %d", c.to, c.most, mtu, longest, c.want)
		}
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=INFO") || strings.Contains(got, c.to.String()) {
			t.Errorf("log: %q; want one line without an address", got)
		}

		// A connection that is open already is told when it finds out.
		h.carry(t, older, olderFar, 100<<10)
		if _, lost := h.seen(); len(lost) != 1 {
			t.Errorf("%v: packets of lengths %v were lost of a path that is known", c.to, lost)
		}
		// What comes has no packets that are too long, in neither direction.
		h.carry(t, dialed, accepted, 100<<10)
		second, far := p.connect(t, c.to)
		h.carry(t, second, far, 1<<20)
		if longest, lost := h.seen(); len(lost) > 0 || longest > c.want {
			t.Errorf("%v: packets of lengths %v were lost of a path that is known, and one of %d passed", c.to, lost, longest)
		}
		back := newHole(p.fromRight, clock, 0)
		back.carry(t, far, second, 100<<10)
		if longest, _ := back.seen(); longest > c.want {
			t.Errorf("%v: the other end sends %d bytes; want %d at most", c.to, longest, c.want)
		}

		// Later, more is tried again.
		clock.Advance(pathAge)
		p.fromLeft.set(func() { h.most = 0 })
		third, far := p.connect(t, c.to)
		h.carry(t, third, far, 100<<10)
		if longest, _ := h.seen(); longest <= c.most || passes(p.left) != 0 {
			t.Errorf("%v: %v later, the longest packet has %d bytes, where %d are known to pass", c.to, pathAge, longest, passes(p.left))
		}
		p.left.Close()
		p.right.Close()
	}
}

// What a gateway sends to its peer can be too long for the path too.
func TestBlackHoleOfGateway(t *testing.T) {
	for _, to := range []netip.Addr{foreign4, foreign6} {
		clock, option := manualClock()
		accept, flows := handOver(t)
		p := newGateway(t, Options{Accept: accept}, func(o *stack.Options) { option("", o) })
		h := newHole(p.fromRight, clock, 1300)
		result := p.dial(t.Context(), "tcp", netip.AddrPortFrom(to, 80))
		here, err := (<-flows).Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer here.Close()
		there := <-result
		if there.err != nil {
			t.Fatal(there.err)
		}
		defer there.conn.Close()
		h.carry(t, here, there.conn, 1<<20)
		if mtu := passes(p.right); mtu != 1280 {
			t.Errorf("%v: where 1300 bytes pass, %d do; want 1280", to, mtu)
		}
	}
}

// When nothing arrives, nothing is known of how long packets may be.
func TestOutageIsNoBlackHole(t *testing.T) {
	for _, to := range []netip.Addr{right4, right6} {
		for _, outage := range []time.Duration{time.Second, 20 * time.Second} {
			clock, option := manualClock()
			p := newPair(t, option)
			h := newHole(p.fromLeft, clock, 0)
			dialed, accepted := p.connect(t, to)
			end := clock.NowMonotonic().Add(outage)
			probes := 0
			p.fromLeft.set(func() {
				h.loses = func(packet []byte) bool {
					if len(packet) == 1320 {
						probes++
					}
					return clock.NowMonotonic().Before(end)
				}
			})
			h.carry(t, dialed, accepted, 256<<10)
			h.seen()
			h.carry(t, dialed, accepted, 100<<10)
			if longest, _ := h.seen(); longest < 1390 || passes(p.left) != 0 {
				t.Errorf("%v, after %v: the longest packet has %d bytes, where %d are known to pass", to, outage, longest, passes(p.left))
			}
			p.fromLeft.set(func() {
				if outage > 2*time.Second && probes == 0 {
					t.Errorf("%v: %v of time-outs, and nothing was tried", to, outage)
				}
			})
		}
	}
}

// A segment that is lost twice, as on a bad path every thousandth may be, has
// been a long one by chance.
func TestLossIsNoBlackHole(t *testing.T) {
	for seed := range uint64(3) {
		clock, option := manualClock()
		p := newPair(t, option)
		h := newHole(p.fromLeft, clock, 0)
		dialed, accepted := p.connect(t, right4)
		random := rand.New(rand.NewPCG(seed, 0))
		lost := map[uint32]int{}
		p.fromLeft.set(func() {
			h.loses = func(packet []byte) bool {
				seq := header.TCP(packet[ipHeader(packet):]).SequenceNumber()
				if lost[seq] == 2 || random.IntN(10) > 0 {
					return false
				}
				lost[seq]++
				return true
			}
		})
		took := h.carry(t, dialed, accepted, 1<<20)
		p.fromLeft.set(func() {
			t.Logf("seed %d: %d lost, %v", seed, len(lost), took)
			if len(lost) < 50 {
				t.Errorf("seed %d: only %d packets were lost", seed, len(lost))
			}
		})
		if mtu := passes(p.left); mtu != 0 {
			t.Errorf("seed %d: %d bytes pass, it is said", seed, mtu)
		}
	}
}

// Only what acknowledges a probe, and no more, tells of the path.
func TestAnswers(t *testing.T) {
	k := flowKey{left4, right4, 80}
	for _, c := range []struct {
		what         string
		again        bool
		later        time.Duration
		acknowledged int
		want         int
	}{
		{"the probe that passes", true, time.Second, 1280 - 52, 1280},
		{"the longest", true, time.Second, 1360 - 52, 1360},
		{"the shortest", true, time.Second, 1200 - 52, 1200},
		{"all of the segment", true, time.Second, 1392 - 52, 0},
		{"more", true, time.Second, 1400 - 52, 0},
		{"less than any", true, time.Second, 1160 - 52, 0},
		{"no data", true, time.Second, 0, 0},
		{"data from before", true, time.Second, -40, 0},
		{"half a probe", true, time.Second, 1270 - 52, 0},
		{"without probes", false, time.Second, 1280 - 52, 0},
		{"too late", true, answerTime + time.Millisecond, 1280 - 52, 0},
	} {
		clock := faketime.NewManualClock()
		var h holes
		const seq = 1<<32 - 600 // so that what follows begins at zero again
		send := func() bool {
			return h.again(k, suspect{seq: seq, size: 1392, headers: 52, sent: clock.NowMonotonic()})
		}
		if send() {
			t.Errorf("%s: the first time-out is enough", c.what)
		}
		if c.again {
			clock.Advance(leastTimeout - 1)
			if send() {
				t.Errorf("%s: again after %v, which is no time-out", c.what, leastTimeout-1)
			}
			clock.Advance(1)
			if !send() {
				t.Errorf("%s: the second time-out is not enough", c.what)
			}
		}
		clock.Advance(c.later)
		ack := uint32(int64(seq) + int64(c.acknowledged))
		if got, news := h.answer(k, ack, clock.NowMonotonic()); got != c.want || news != (c.want > 0) {
			t.Errorf("%s: %d, %v; want %d", c.what, got, news, c.want)
		}
		if got, _ := h.answer(k, ack, clock.NowMonotonic()); got != 0 {
			t.Errorf("%s: a second answer is %d", c.what, got)
		}
	}
}

// Of many connections with time-outs, the latest are remembered.
func TestSuspectsAreBounded(t *testing.T) {
	var h holes
	clock := faketime.NewManualClock()
	for ports := range uint32(3 * maxSuspects) {
		clock.Advance(time.Millisecond)
		h.again(flowKey{left4, right4, ports}, suspect{sent: clock.NowMonotonic()})
	}
	_, last := h.suspects[flowKey{left4, right4, 3*maxSuspects - 1}]
	_, first := h.suspects[flowKey{left4, right4, 0}]
	if len(h.suspects) != maxSuspects || !last || first {
		t.Errorf("%d suspects, the last among them: %v, the first: %v", len(h.suspects), last, first)
	}
}
