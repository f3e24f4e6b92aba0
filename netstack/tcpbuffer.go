package netstack

import (
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"
)

// tcpBuffer is what a connection keeps of one direction: what has arrived and was
// not read, or what was written and is not acknowledged.
//
// The window that a receive buffer offers is half of it (the other half is for
// what the stack needs beside the data), and its end never moves back (RFC 9293,
// section 3.8.6). So a buffer may lose an eighth when it has moved an eighth: what
// its window still allows fits into the rest, with the overhead of segments, and
// the window shrinks because its end stands still.
type tcpBuffer struct {
	ep     tcpip.Endpoint
	send   bool
	most   int64
	packet int64 // the size of the largest, for a send buffer

	// What follows is guarded by the connection's reading or writing. moved is
	// what was read or written since the budget was told, round what was read in
	// the round trip that began at since, and own says that the stack does not
	// change the send buffer any more.
	moved, round int64
	since        tcpip.MonotonicTime
	own          bool

	// charged is what it costs of the budget: its size, or nothing if it is not
	// in use. Written with the budget's mu.
	charged atomic.Int64
	active  atomic.Bool // since the last look
	gone    bool        // the connection was closed. Guarded by the budget's mu
}

// init makes f the receive buffer of an endpoint that is connected.
func (f *tcpBuffer) init(ep tcpip.Endpoint, now tcpip.MonotonicTime) {
	f.ep, f.most, f.since = ep, tcpReceiveMax, now
}

// initSend makes f its send buffer.
func (f *tcpBuffer) initSend(ep tcpip.Endpoint, mtu int) {
	f.ep, f.send, f.most, f.packet = ep, true, tcpSendMax, int64(mtu)
}

// add counts what was read or written, and tells the budget from time to time.
func (f *tcpBuffer) add(n int, b *budget) {
	f.moved += int64(n)
	if f.moved < max(f.charged.Load(), tcpBufferDefault)/8 {
		return
	}
	grow := f.size() < f.most && f.full(b.clock.NowMonotonic())
	f.moved = 0
	b.use(f, grow)
}

// full reports whether the buffer may be what holds the connection back.
func (f *tcpBuffer) full(now tcpip.MonotonicTime) bool {
	if f.send && !f.own {
		return false // the stack knows
	}
	var info tcpip.TCPInfoOption
	if err := f.ep.GetSockOpt(&info); err != nil {
		return false
	}
	if f.send {
		// What the congestion window allows, and as much again that waits for it.
		return 2*int64(info.SndCwnd)*f.packet > f.size()
	}
	// What the stack knows is the round trip at the handshake or later; windows
	// come a little more apart.
	if now.Sub(f.since) > info.RTT+info.RTT/4 {
		f.round, f.since = f.moved, now
		return false
	}
	// If half of a window comes in a round trip, the next one may bring twice as
	// much (RFC 5681, section 3.1), or has to repair a loss too.
	f.round += f.moved
	return f.round >= f.size()/4
}

func (f *tcpBuffer) size() int64 {
	if f.send {
		return f.ep.SocketOptions().GetSendBufferSize()
	}
	return f.ep.SocketOptions().GetReceiveBufferSize()
}

// smaller is what the buffer may shrink to from a size.
func (f *tcpBuffer) smaller(size int64) int64 {
	if f.send {
		return 0 // who writes waits
	}
	return size / 8 * 7
}

// resize sets the size; called by who reads or writes. The stack wakes who
// writes, or sends an acknowledgement at once if that opens a window that was
// closed.
func (f *tcpBuffer) resize(n int64) {
	if f.send {
		f.own = true // the stack makes it so
		f.ep.SocketOptions().SetSendBufferSize(n, true)
		return
	}
	f.ep.SocketOptions().SetReceiveBufferSize(n, true)
}

// held is what is in a buffer that is not active, or nothing if that is little.
// A send buffer becomes small again: what is in it stays, and it grows when it
// moves.
func (f *tcpBuffer) held() int64 {
	if !f.send {
		n, err := f.ep.GetSockOptInt(tcpip.ReceiveQueueSizeOption)
		if err != nil {
			return 0
		}
		return int64(n)
	}
	if f.size() > tcpBufferFloor {
		f.ep.SocketOptions().SetSendBufferSize(tcpBufferFloor, false) // the stack may let it grow
	}
	if f.ep.Readiness(waiter.WritableEvents) != 0 {
		return 0
	}
	return f.charged.Load()
}

// refuse lets a receive buffer take no more until it was read. What the other
// end sends because the window allows it is lost, and sent again.
func (f *tcpBuffer) refuse() {
	if !f.send && f.size() > tcpBufferFloor {
		f.resize(tcpBufferFloor)
	}
}
