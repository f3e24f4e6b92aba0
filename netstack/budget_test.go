package netstack

import (
	"math/rand/v2"
	"runtime/debug"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/faketime"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// bufferLimits are the first and the largest size of a stack's buffers.
func bufferLimits(t *testing.T, s *stack.Stack) (receive tcpip.TCPReceiveBufferSizeRangeOption, send tcpip.TCPSendBufferSizeRangeOption) {
	t.Helper()
	if err := s.TransportProtocolOption(tcp.ProtocolNumber, &receive); err != nil {
		t.Fatal(err)
	}
	if err := s.TransportProtocolOption(tcp.ProtocolNumber, &send); err != nil {
		t.Fatal(err)
	}
	return receive, send
}

// stopClock gives a budget a clock that stands still, so that no round trip
// ever passes and only the test makes looks happen.
func stopClock(b *budget) *faketime.ManualClock {
	clock := faketime.NewManualClock()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock = clock
	return clock
}

// spare returns buffers of endpoints that are not connected, and counts these
// in a budget.
func spare(t *testing.T, n *Net, count int, send bool) []*tcpBuffer {
	t.Helper()
	var all []*tcpBuffer
	for range count {
		ep, err := n.stack.NewEndpoint(tcp.ProtocolNumber, protocolOf(left4), new(waiter.Queue))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(ep.Close)
		f := new(tcpBuffer)
		if send {
			f.initSend(ep, wireguard.DefaultMTU)
		} else {
			f.init(ep, n.budget.clock.NowMonotonic())
		}
		n.budget.opened()
		all = append(all, f)
	}
	return all
}

// TestBudgetTells: what the stacks know of the number of connections. The
// largest receive buffer is that of the window's scale, whatever is left.
func TestBudgetTells(t *testing.T) {
	accept, _ := handOver(t)
	p := newGateway(t, Options{Accept: accept})
	b := &p.right.budget
	for _, c := range []struct{ open, first int }{
		{0, 256 << 10},
		{1, 256 << 10},
		{128, 256 << 10},
		{129, 128 << 10},
		{256, 128 << 10},
		{1000, 64 << 10},
		{100_000, 64 << 10},
		{128, 256 << 10},
	} {
		b.mu.Lock()
		b.open = c.open
		b.left.Store(0)
		b.tell()
		b.mu.Unlock()
		for _, s := range p.right.stacks() {
			receive, send := bufferLimits(t, s)
			if receive.Default != c.first || send.Default != c.first || receive.Max != tcpReceiveMax || send.Max != tcpSendMax {
				t.Errorf("%d connections: receive %+v, send %+v; want %+v", c.open, receive, send, c)
			}
		}
	}
}

// A process that may have little gives its buffers a quarter of it.
func TestBudgetWithinLimit(t *testing.T) {
	for _, c := range []struct{ limit, total int64 }{
		{64 << 20, 16 << 20},
		{1 << 30, tcpBudget},
		{1, 0},
	} {
		was := debug.SetMemoryLimit(c.limit)
		p := newPair(t)
		debug.SetMemoryLimit(was)
		if got := p.left.budget.total; got != c.total {
			t.Errorf("of %d bytes buffers get %d, want %d", c.limit, got, c.total)
		}
		f := spare(t, p.left, 1, false)[0]
		for range 10 {
			p.left.budget.use(f, true)
		}
		if got, want := f.size(), min(max(c.total/2, tcpBufferFloor), tcpReceiveMax); got != want {
			t.Errorf("of %d bytes one buffer gets %d, want %d", c.limit, got, want)
		}
	}
}

// TestBudgetShares: one buffer gets all that it can use, and of n each gets
// 1/(n+1) of the total in the end, whoever came first; not less than the floor.
func TestBudgetShares(t *testing.T) {
	p := newPair(t)
	b := &p.left.budget
	stopClock(b)
	order := rand.New(rand.NewPCG(1, 2))
	var all []*tcpBuffer
	for _, n := range []int{1, 2, 3, 10, 100, 1000} {
		all = append(all, spare(t, p.left, n-len(all), false)...)
		for range 50 {
			for _, i := range order.Perm(n) {
				b.use(all[i], true)
			}
		}
		want := max(min(tcpReceiveMax, b.total/int64(n+1)), tcpBufferFloor)
		var sum int64
		for i, f := range all {
			if got := f.size(); got < want-want/50 || got > want+want/50 {
				t.Errorf("buffer %d of %d has %d, want %d", i, n, got, want)
			}
			sum += f.charged.Load()
		}
		if left := b.left.Load(); left != b.total-sum {
			t.Errorf("%d are left of %d, and %d are charged", left, b.total, sum)
		}
		if sum > b.total && want > tcpBufferFloor {
			t.Errorf("%d buffers have %d together, of %d", n, sum, b.total)
		}
	}
}

// A send buffer shrinks to what is left at once, and becomes small when it does
// not move.
func TestBudgetOfSendBuffers(t *testing.T) {
	p := newPair(t)
	b := &p.left.budget
	clock := stopClock(b)
	f := spare(t, p.left, 2, true)
	for _, f := range f {
		f.resize(tcpSendMax)
		b.use(f, false)
	}
	if got := b.left.Load(); got != b.total-2*tcpSendMax {
		t.Errorf("%d are left of %d with two of %d", got, b.total, tcpSendMax)
	}
	b.mu.Lock()
	b.charge(f[1], b.total-4<<20)
	b.mu.Unlock()
	b.use(f[0], false)
	if got := f[0].size(); got != 2<<20 {
		t.Errorf("the size is %d of 4 MiB, want half", got)
	}
	clock.Advance(budgetCheck)
	clock.Advance(budgetCheck)
	for _, f := range f {
		if got := f.size(); got != tcpBufferFloor {
			t.Errorf("the size is %d when nothing moved, want %d", got, tcpBufferFloor)
		}
	}
}

// TestBudgetIdle: who moved and does no more costs nothing at the next look
// but one, and then nobody looks any more.
func TestBudgetIdle(t *testing.T) {
	p := newPair(t)
	b := &p.left.budget
	clock := stopClock(b)
	all := spare(t, p.left, 1000, false)
	for _, f := range all {
		b.use(f, true)
	}
	clock.Advance(budgetCheck)
	b.use(all[0], true) // is busy
	clock.Advance(budgetCheck)
	if got, want := b.left.Load(), b.total-all[0].size(); got != want {
		t.Errorf("%d are left beside a busy one, want %d", got, want)
	}
	clock.Advance(budgetCheck)
	if got := b.left.Load(); got != b.total {
		t.Errorf("%d are left of %d when all are idle", got, b.total)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timer != nil {
		t.Error("a look is due when nothing is in use")
	}
}

// Each connection counts from its beginning until it was closed, and no longer.
func TestBudgetCounts(t *testing.T) {
	p := newPair(t)
	dialed, accepted := p.connect(t, right4)
	other, _ := p.connect(t, right6)
	count := func() [2]int { return [2]int{p.left.budget.open, p.right.budget.open} }
	if got := count(); got != [2]int{2, 2} {
		t.Errorf("%v are open; want 2 at each end", got)
	}
	b := &p.left.budget
	b.use(&dialed.receive, false)
	b.use(&dialed.send, false)
	dialed.Close()
	dialed.Close()
	b.use(&dialed.receive, true) // by a read that was under way
	accepted.Close()
	other.SetLinger(0)
	other.Close()
	if _, err := p.left.DialContext(t.Context(), "tcp", "10.0.0.2:1"); err == nil {
		t.Error("nobody listens there")
	}
	if got := count(); got != [2]int{0, 1} {
		t.Errorf("%v are open; want 0 and 1", got)
	}
	if got := b.left.Load(); got != b.total {
		t.Errorf("%d are left of %d when all are closed", got, b.total)
	}
}
