package netstack

import (
	"math/bits"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

const (
	// tcpBudget is what the buffers of all connections of a tunnel may hold
	// together, in bytes: of receive buffers half is the window, so these are
	// 1.3 Gbit/s at 100 ms. It is less where the process may have less than
	// four times as much (GOMEMLIMIT).
	tcpBudget = 32 << 20
	// tcpBufferFloor is what each buffer may have however many there are.
	tcpBufferFloor = 64 << 10
	// budgetCheck is how often buffers in use are looked at. A round trip that
	// is longer would make a busy connection look idle.
	budgetCheck = time.Second
)

// budget divides memory among the buffers that are in use: a buffer may be as
// large as what is left, so that n busy ones get 1/(n+1) of the total each, and
// a single one all that it can use. Whoever moves little and holds nothing
// costs nothing of it, and neither does what a buffer begins with before 32 KiB
// have moved; that is less where many connections are open.
//
// Nothing is done per packet, and hardly anything per call: a buffer grows or
// shrinks (tcpbuffer.go) when it has moved an eighth of its size, and all in use
// are looked at once a second. The stack's limits stay what they are. That of
// receive buffers gives the scale of a window, which is fixed at the beginning
// (RFC 7323, section 2.2), so the stack is not asked to let these grow. With that
// of send buffers below the size of one, its writer might never be woken; so the
// stack lets them grow, until one has to be smaller.
//
// The total can be passed in one way: a window that was offered is kept, also
// while its connection is idle and costs nothing. Only if more than the total is
// really held, by readers that have stopped, do these get no more.
type budget struct {
	total  int64
	clock  tcpip.Clock
	stacks []*stack.Stack
	// left is what is not charged, below zero if too much is. Written with mu.
	left atomic.Int64

	mu   sync.Mutex
	open int // connections. Guarded by mu
	// charged are the buffers in use, which are looked at. Guarded by mu.
	charged map[*tcpBuffer]struct{}
	first   int            // the size that the stacks begin with. Guarded by mu
	closed  bool           // guarded by mu
	timer   tcpip.Timer    // nil if no look is due. Guarded by mu
	looks   sync.WaitGroup // looks that are due or at work
}

// start is called before the first connection.
func (b *budget) start(clock tcpip.Clock, stacks []*stack.Stack) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total = min(tcpBudget, debug.SetMemoryLimit(-1)/4)
	b.clock, b.stacks, b.charged = clock, stacks, make(map[*tcpBuffer]struct{})
	b.left.Store(b.total)
	b.tell()
}

// close ends the looks. The stack's locks must not wait for the link any more.
func (b *budget) close() {
	b.mu.Lock()
	b.closed = true
	if b.timer != nil && b.timer.Stop() {
		b.looks.Done()
	}
	b.timer = nil
	b.mu.Unlock()
	b.looks.Wait()
}

// opened counts a connection.
func (b *budget) opened() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open++
	b.tell()
}

// ended is the end of a connection with these buffers.
func (b *budget) ended(buffers ...*tcpBuffer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	for _, f := range buffers {
		b.charge(f, 0)
		f.gone = true
	}
	b.tell()
}

// use says that a buffer has moved an eighth of its size or more. With grow, it
// would be of use if it were larger.
func (b *budget) use(f *tcpBuffer, grow bool) {
	f.active.Store(true)
	size, charged, left := f.size(), f.charged.Load(), b.left.Load()
	if size == charged && size <= left && !grow {
		return
	}
	b.mu.Lock()
	charged, left = f.charged.Load(), b.left.Load()
	want := size
	if grow {
		want *= 2
	}
	// As large as what is left then.
	want = max(min(want, f.most, (left+charged)/2), tcpBufferFloor)
	if want < size {
		want = max(want, f.smaller(size))
	}
	b.charge(f, want)
	b.mu.Unlock()
	if want != size {
		f.resize(want)
	}
}

// charge makes a buffer cost so much from now on. Called with mu held.
func (b *budget) charge(f *tcpBuffer, n int64) {
	if f.gone {
		return
	}
	b.left.Add(f.charged.Swap(n) - n)
	if n == 0 {
		delete(b.charged, f)
		return
	}
	b.charged[f] = struct{}{}
	b.await()
}

// await makes a look due, if there is something to look at. Called with mu
// held.
func (b *budget) await() {
	if b.timer == nil && !b.closed && len(b.charged) > 0 {
		b.looks.Add(1)
		b.timer = b.clock.AfterFunc(budgetCheck, b.look)
	}
}

// look lets buffers that are not in use any more cost nothing.
func (b *budget) look() {
	defer b.looks.Done()
	b.mu.Lock()
	buffers := make([]*tcpBuffer, 0, len(b.charged))
	for f := range b.charged {
		buffers = append(buffers, f)
	}
	b.mu.Unlock()

	var stalled []*tcpBuffer // those that hold something and do not move
	var held int64
	for _, f := range buffers {
		if f.active.Swap(false) {
			continue
		}
		n := f.held()
		if n > 0 {
			stalled, held = append(stalled, f), held+n
			continue
		}
		b.mu.Lock()
		if !f.active.Load() {
			b.charge(f, 0)
		}
		b.mu.Unlock()
	}
	if held > b.total {
		for _, f := range stalled {
			f.refuse()
		}
	}

	b.mu.Lock()
	b.timer = nil
	b.await()
	b.mu.Unlock()
}

// tell lets the stacks know how large buffers begin, in powers of two so that
// this is seldom necessary. Called with mu held.
func (b *budget) tell() {
	first := 1 << bits.Len64(uint64(b.total)/uint64(max(b.open, 1))) / 2 // 0 if there is nothing
	first = min(max(first, tcpBufferFloor), tcpBufferDefault)
	if first == b.first {
		return
	}
	b.first = first
	for _, s := range b.stacks {
		receive, send := bufferSizes(first)
		// The stack takes what is in order.
		_ = s.SetTransportProtocolOption(tcp.ProtocolNumber, &receive)
		_ = s.SetTransportProtocolOption(tcp.ProtocolNumber, &send)
	}
}

// bufferSizes are those of connections whose buffers begin with first.
func bufferSizes(first int) (tcpip.TCPReceiveBufferSizeRangeOption, tcpip.TCPSendBufferSizeRangeOption) {
	return tcpip.TCPReceiveBufferSizeRangeOption{Min: tcpBufferMin, Default: first, Max: tcpReceiveMax},
		tcpip.TCPSendBufferSizeRangeOption{Min: tcpBufferMin, Default: first, Max: tcpSendMax}
}
