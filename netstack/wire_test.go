package netstack

import (
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard"
	"go.uber.org/goleak"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire is a link to another stack. Its fields but those of newWire are set
// before the stack starts.
type wire struct {
	pool wireguard.Pool
	mtu  int

	mu sync.Mutex
	// refuse is the error of routes to an address. Guarded by mu.
	refuse map[netip.Addr]error
	// edit may change or drop (nil) what is sent. Guarded by mu, and called
	// with it.
	edit func(packet []byte) []byte
	// hold keeps Send waiting as long as it is not nil and not closed.
	// Guarded by mu.
	hold <-chan struct{}
	// inbox is what the other side's receiver has still to deliver: without
	// bound, so that two stacks never wait for each other. Guarded by mu.
	inbox  [][][]byte
	ready  sync.Cond
	closed bool // guarded by mu
	ended  chan struct{}
}

// newWire returns a wire whose packets deliver gets, which may be nil. It ends
// after the test's other clean-ups.
func newWire(t testing.TB, mtu int, deliver func([][]byte)) *wire {
	w := &wire{mtu: mtu, refuse: map[netip.Addr]error{}, ended: make(chan struct{})}
	w.ready.L = &w.mu
	go w.receive(deliver)
	t.Cleanup(func() {
		w.mu.Lock()
		w.closed = true
		w.ready.Broadcast()
		w.mu.Unlock()
		<-w.ended
	})
	return w
}

func (w *wire) MTU() int { return w.mtu }

func (w *wire) Route(dst netip.Addr) (wireguard.Route, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return wireguard.Route{}, w.refuse[dst]
}

func (w *wire) NewBatch(r wireguard.Route, size int) *wireguard.Batch {
	return w.pool.New(r, size, w.mtu)
}

func (w *wire) Send(b *wireguard.Batch) {
	w.mu.Lock()
	hold := w.hold
	w.mu.Unlock()
	if hold != nil {
		<-hold
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	defer b.Release()
	var packets [][]byte
	for i := range b.Len() {
		p := slices.Clone(b.Packet(i))
		if w.edit != nil {
			p = w.edit(p)
		}
		if p != nil {
			packets = append(packets, p)
		}
	}
	w.inbox = append(w.inbox, packets)
	w.ready.Signal()
}

// receive delivers as a Device does: the packets are overwritten afterwards.
func (w *wire) receive(deliver func([][]byte)) {
	defer close(w.ended)
	for {
		w.mu.Lock()
		for len(w.inbox) == 0 && !w.closed {
			w.ready.Wait()
		}
		if w.closed {
			w.mu.Unlock()
			return
		}
		packets := w.inbox[0]
		w.inbox = w.inbox[1:]
		w.mu.Unlock()
		if deliver != nil {
			deliver(packets)
		}
		for _, p := range packets {
			clear(p)
		}
	}
}

// set changes the wire while it is in use.
func (w *wire) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// swallow makes the wire lose everything from now on.
func (w *wire) swallow() {
	w.set(func() { w.edit = func([]byte) []byte { return nil } })
}

// The addresses of a pair.
var (
	left4, right4 = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	left6, right6 = netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")
	nobody4       = netip.MustParseAddr("10.0.0.99")
	nobody6       = netip.MustParseAddr("fd00::99")
)

// pair is two stacks joined back to back.
type pair struct {
	left, right         *Net
	fromLeft, fromRight *wire
}

// newPair returns a pair that is closed after the test.
func newPair(t testing.TB, options ...func(side string, o *stack.Options)) *pair {
	p := &pair{left: &Net{}, right: &Net{}}
	p.fromLeft = newWire(t, wireguard.DefaultMTU, p.right.deliver)
	p.fromRight = newWire(t, wireguard.DefaultMTU, p.left.deliver)
	start := func(side string, n *Net, w *wire, addresses ...netip.Addr) {
		o := stackOptions()
		for _, f := range options {
			f(side, &o)
		}
		var own []netip.Prefix
		for _, a := range addresses {
			own = append(own, netip.PrefixFrom(a, 24))
		}
		if err := n.start(w, own, o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
	}
	start("left", p.left, p.fromLeft, left4, left6)
	start("right", p.right, p.fromRight, right4, right6)
	return p
}
