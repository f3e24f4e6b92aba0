package netstack

import (
	"math/bits"
	"runtime/debug"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// tcpBudget is what the buffers of all connections of a tunnel may hold
// together, as long as each can have tcpBufferFloor in each direction. It is
// less where the process may have less than four times as much (GOMEMLIMIT).
const (
	tcpBudget      = 256 << 20
	tcpBufferFloor = 64 << 10
)

// budget makes the buffers of a connection smaller the more connections there
// are. The stack asks for the largest size whenever it lets a buffer grow, and
// for the first one at the beginning of a connection; what a buffer has
// already, it keeps. A connection that begins among many can't grow much later
// on either: the scale of its window is fixed at the beginning (RFC 7323,
// section 2.2).
type budget struct {
	mu    sync.Mutex
	total int // 0 before the first connection. Guarded by mu
	open  int // connections. Guarded by mu
	// share is the largest size now, and maybe more than any buffer may have.
	// Guarded by mu; 0 before the first connection.
	share int
}

// add counts connections that were opened, or closed if n is negative.
func (b *budget) add(n int, stacks []*stack.Stack) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.total == 0 {
		b.total = int(min(tcpBudget, debug.SetMemoryLimit(-1)/4))
	}
	b.open += n
	// A power of two, so that the stacks are seldom told.
	share := 1 << bits.Len(uint(b.total/2/max(b.open, 1))) / 2 // 0 if there is nothing
	share = min(max(share, tcpBufferFloor), max(tcpReceiveMax, tcpSendMax))
	if share == b.share {
		return
	}
	b.share = share
	for _, s := range stacks {
		receive, send := bufferSizes(share)
		// The stack takes what is in order.
		_ = s.SetTransportProtocolOption(tcp.ProtocolNumber, &receive)
		_ = s.SetTransportProtocolOption(tcp.ProtocolNumber, &send)
	}
}

// bufferSizes are those of connections that may have so much in each direction.
func bufferSizes(share int) (tcpip.TCPReceiveBufferSizeRangeOption, tcpip.TCPSendBufferSizeRangeOption) {
	first := min(share, tcpBufferDefault)
	return tcpip.TCPReceiveBufferSizeRangeOption{Min: tcpBufferMin, Default: first, Max: min(share, tcpReceiveMax)},
		tcpip.TCPSendBufferSizeRangeOption{Min: tcpBufferMin, Default: first, Max: min(share, tcpSendMax)}
}
