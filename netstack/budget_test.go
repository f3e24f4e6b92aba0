package netstack

import (
	"runtime/debug"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
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

func TestBudget(t *testing.T) {
	accept, _ := handOver(t)
	p := newGateway(t, Options{Accept: accept})
	for _, c := range []struct{ open, first, receive, send int }{
		{0, 256 << 10, 8 << 20, 6 << 20},
		{1, 256 << 10, 8 << 20, 6 << 20},
		{16, 256 << 10, 8 << 20, 6 << 20},
		{17, 256 << 10, 4 << 20, 4 << 20},
		{100, 256 << 10, 1 << 20, 1 << 20},
		{1000, 128 << 10, 128 << 10, 128 << 10},
		{10_000, 64 << 10, 64 << 10, 64 << 10},
		{100_000, 64 << 10, 64 << 10, 64 << 10},
		{16, 256 << 10, 8 << 20, 6 << 20},
		{0, 256 << 10, 8 << 20, 6 << 20},
	} {
		p.right.budget.add(c.open-p.right.budget.open, p.right.stacks())
		for _, s := range p.right.stacks() {
			receive, send := bufferLimits(t, s)
			if receive.Default != c.first || send.Default != c.first || receive.Max != c.receive || send.Max != c.send {
				t.Errorf("%d connections: receive %+v, send %+v; want %+v", c.open, receive, send, c)
			}
		}
	}
}

// A process that may have little gives its buffers a quarter of it.
func TestBudgetWithinLimit(t *testing.T) {
	p := newPair(t)
	for _, c := range []struct {
		limit          int64
		first, largest int
	}{
		{64 << 20, 256 << 10, 1 << 20},
		{1, 64 << 10, 64 << 10},
	} {
		was := debug.SetMemoryLimit(c.limit)
		var b budget
		b.add(8, p.left.stacks())
		debug.SetMemoryLimit(was)
		receive, send := bufferLimits(t, p.left.stack)
		if receive.Default != c.first || receive.Max != c.largest || send.Default != c.first || send.Max != c.largest {
			t.Errorf("of %d bytes 8 connections get %+v and %+v; want %d to %d", c.limit, receive, send, c.first, c.largest)
		}
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
	dialed.Close()
	dialed.Close()
	accepted.Close()
	other.SetLinger(0)
	other.Close()
	if _, err := p.left.DialContext(t.Context(), "tcp", "10.0.0.2:1"); err == nil {
		t.Error("nobody listens there")
	}
	if got := count(); got != [2]int{0, 1} {
		t.Errorf("%v are open; want 0 and 1", got)
	}
}
