package netstack

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// send writes n bytes from one end and closes it for writing, in a goroutine.
func send(c *TCPConn, n int) <-chan error {
	result := make(chan error, 1)
	go func() {
		if _, err := c.Write(make([]byte, n)); err != nil {
			result <- err
			return
		}
		result <- c.CloseWrite()
	}()
	return result
}

// receiveAll reads to the end.
func receiveAll(t *testing.T, c *TCPConn, want int64, sent <-chan error) {
	t.Helper()
	if n, err := io.Copy(io.Discard, struct{ io.Reader }{c}); n != want || err != nil {
		t.Errorf("%d bytes of %d came: %v", n, want, err)
	}
	if err := <-sent; err != nil {
		t.Errorf("sending: %v", err)
	}
}

// TestGrowth: a receive buffer grows if half of its window, a quarter of its
// size, comes within a round trip.
func TestGrowth(t *testing.T) {
	p := newPair(t)
	b := &p.left.budget
	clock := stopClock(b)
	c, _ := p.connect(t, right4)
	f := &c.receive
	f.since = clock.NowMonotonic()
	if got := f.size(); got != tcpBufferDefault {
		t.Fatalf("the first size is %d", got)
	}
	for _, step := range []struct {
		after time.Duration
		moved int // KiB
		want  int64
	}{
		{time.Hour, 31, 256 << 10},
		{0, 33, 256 << 10}, // enough to cost something
		{0, 32, 512 << 10}, // 96 in the round trip, and a quarter is 64
		{time.Hour, 64, 512 << 10},
		{time.Hour, 64, 512 << 10},
		{0, 63, 512 << 10},
		{0, 1, 1 << 20},
		{0, 128, 2 << 20},
		{0, 255, 2 << 20},
		{0, 1, 4 << 20},
		{0, 512, 8 << 20},
		{0, 2048, 8 << 20},
	} {
		clock.Advance(step.after)
		f.add(step.moved<<10, b)
		if got := f.size(); got != step.want {
			t.Errorf("after %v and %d KiB the size is %d, want %d", step.after, step.moved, got, step.want)
		}
	}
	// What is idle, large, and costs nothing any more costs again soon when it moves.
	clock.Advance(budgetCheck)
	clock.Advance(budgetCheck)
	if got := f.charged.Load(); got != 0 {
		t.Fatalf("it costs %d while it is idle", got)
	}
	f.add(tcpBufferFloor, b)
	if got := f.charged.Load(); got != 8<<20 {
		t.Errorf("it costs %d when it moves", got)
	}
}

// TestGrowsAmongIdleConnections: a connection that begins when a thousand are
// open, which have moved something, gets the largest window there is.
func TestGrowsAmongIdleConnections(t *testing.T) {
	p := newPair(t)
	b := &p.left.budget
	clock := stopClock(b)
	l, err := p.right.Listen(t.Context(), "tcp", "10.0.0.2:80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go echoAll(l)
	for range 1000 {
		c, err := p.left.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := c.Write([]byte("request")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, len("request"))); err != nil {
			t.Fatal(err)
		}
		b.use(&c.(*TCPConn).receive, false) // as if it were much
		b.use(&c.(*TCPConn).send, false)
	}
	clock.Advance(budgetCheck)
	clock.Advance(budgetCheck)

	var w windows
	p.fromLeft.set(func() { p.fromLeft.edit = w.watch })
	dialed, accepted := p.connect(t, right4)
	const size = 16 << 20
	receiveAll(t, dialed, size, send(accepted, size))
	if got := dialed.receive.size(); got != tcpReceiveMax {
		t.Errorf("the receive buffer has %d", got)
	}
	p.fromLeft.set(func() {
		if w.largest < tcpReceiveMax/2-512<<10 { // what is unread is not in it
			t.Errorf("the largest window was %d", w.largest)
		}
	})
}

// echoAll serves a listener until it is closed.
func echoAll(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}()
	}
}

// windows sees those that packets of the last connection to begin offer.
type windows struct {
	port      uint16
	scale     int
	edge      uint32 // the last number that one allowed
	largest   int
	last      int
	retracted int // bytes, at most at once
}

// watch is for a wire's edit.
func (w *windows) watch(p []byte) []byte {
	s := header.TCP(p[header.IPv4MinimumSize:])
	if s.Flags()&header.TCPFlagSyn != 0 {
		*w = windows{port: s.SourcePort(), scale: header.ParseSynOptions(s.Options(), false).WS}
		return p
	}
	if s.SourcePort() != w.port {
		return p
	}
	w.last = int(s.WindowSize()) << w.scale
	edge := s.AckNumber() + uint32(w.last)
	if w.edge != 0 {
		w.retracted = max(w.retracted, int(int32(w.edge-edge)))
	}
	w.edge, w.largest = edge, max(w.largest, w.last)
	return p
}

// TestWindowIsNotRetracted: a buffer that has to become smaller, because others
// need theirs, takes all that its window allowed (RFC 9293, section 3.8.6).
func TestWindowIsNotRetracted(t *testing.T) {
	p := newPair(t)
	b := &p.left.budget
	stopClock(b)
	var w windows
	p.fromLeft.set(func() { p.fromLeft.edit = w.watch })
	c, other := p.connect(t, right4)
	const size = 32 << 20
	sent := send(other, size)
	if _, err := io.CopyN(io.Discard, c, 8<<20); err != nil {
		t.Fatal(err)
	}
	if got := c.receive.size(); got != tcpReceiveMax {
		t.Fatalf("the buffer has %d while it is alone", got)
	}
	rest := spare(t, p.left, 1, false)[0]
	b.mu.Lock()
	b.charge(rest, b.total)
	b.mu.Unlock()
	receiveAll(t, c, size-8<<20, sent)
	if got := c.receive.size(); got != tcpBufferFloor {
		t.Errorf("the buffer has %d while nothing is left", got)
	}
	p.fromLeft.set(func() {
		// A window is told in units of its scale (RFC 7323, section 2.4).
		if w.retracted >= 1<<w.scale {
			t.Errorf("%d bytes of a window were taken back", w.retracted)
		}
		if w.last > tcpBufferFloor/2 {
			t.Errorf("the window is still %d", w.last)
		}
	})
	if got := c.ep.Stats().(*tcp.Stats).ReceiveErrors.SegmentQueueDropped.Value(); got != 0 {
		t.Errorf("%d segments had no place", got)
	}
}

// TestStalledReadersStayWithinBudget: of a hundred connections each reads as
// long as its buffer grows, and then no more. What is kept for all of them is
// no more than the budget, and what they begin with.
func TestStalledReadersStayWithinBudget(t *testing.T) {
	p := newPair(t)
	b := &p.left.budget
	clock := stopClock(b)
	var all []*TCPConn
	data := make([]byte, 64<<20)
	for i := range 100 {
		c, other := p.connect(t, right4)
		all = append(all, c)
		go func() { _, _ = other.Write(data) }() // ends with the connection
		// The first ones take all that there is.
		if _, err := io.CopyN(io.Discard, c, int64(max(8<<20>>(i/4), tcpBufferDefault))); err != nil {
			t.Fatal(err)
		}
	}
	clock.Advance(budgetCheck)
	clock.Advance(budgetCheck) // they are not idle, but hold something
	settle(t, all)
	if got := unread(t, all); got > b.total/2+100*tcpBufferDefault/2 {
		t.Errorf("%d bytes are kept, of a budget of %d", got, b.total)
	}
	if got := b.left.Load(); got < -100*tcpBufferDefault {
		t.Errorf("%d are left when each begins with %d", got, tcpBufferDefault)
	}
}

// unread is what connections hold that was not read.
func unread(t *testing.T, all []*TCPConn) (sum int64) {
	t.Helper()
	for _, c := range all {
		n, err := c.ep.GetSockOptInt(tcpip.ReceiveQueueSizeOption)
		if err != nil {
			t.Fatal(err)
		}
		sum += int64(n)
	}
	return sum
}

// settle waits until nothing more comes.
func settle(t *testing.T, all []*TCPConn) {
	t.Helper()
	for last := int64(-1); ; time.Sleep(100 * time.Millisecond) {
		now := unread(t, all)
		if now == last {
			return
		}
		last = now
	}
}

// TestPromisedWindows: connections that were given large windows one after the
// other, and cost nothing while they were idle, stop their readers all at once.
// They get no more than they hold by then; all of it comes when they read again.
func TestPromisedWindows(t *testing.T) {
	p := newPair(t)
	b := &p.left.budget
	clock := stopClock(b)
	b.mu.Lock()
	b.total = 2 << 20
	b.left.Store(b.total)
	b.mu.Unlock()
	const conns, size = 8, 16 << 20
	var all []*TCPConn
	var sent []<-chan error
	for range conns {
		c, other := p.connect(t, right4)
		c.receive.resize(tcpReceiveMax)
		all, sent = append(all, c), append(sent, send(other, size))
		if _, err := io.CopyN(io.Discard, c, tcpBufferFloor); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, all)
	if got := unread(t, all); got <= b.total {
		t.Fatalf("only %d bytes came", got)
	}
	clock.Advance(budgetCheck)
	clock.Advance(budgetCheck)
	for _, c := range all {
		if got := c.receive.size(); got > tcpBufferFloor {
			t.Errorf("a buffer has %d while its reader does nothing", got)
		}
	}
	for i, c := range all {
		receiveAll(t, c, size-tcpBufferFloor, sent[i])
	}
}

// A writer whose peer does not read holds its buffer, and costs it.
func TestStalledWriterIsNotIdle(t *testing.T) {
	p := newPair(t)
	b := &p.left.budget
	clock := stopClock(b)
	c, _ := p.connect(t, right4)
	if err := c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Write(make([]byte, 64<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes were taken: %v", n, err)
	}
	for range 3 {
		clock.Advance(budgetCheck)
		if got := c.send.charged.Load(); got < tcpBufferDefault {
			t.Errorf("it costs %d", got)
		}
	}
}

// A writer that waits goes on when its buffer had to become smaller than what is
// in it: by the stack's own limit it would wait for ever.
func TestWriterGoesOnWithLess(t *testing.T) {
	p := newPair(t)
	b := &p.left.budget
	stopClock(b)
	c, other := p.connect(t, right4)
	c.send.resize(tcpSendMax)
	const size = 16 << 20
	sent := send(c, size)
	settle(t, []*TCPConn{other})
	rest := spare(t, p.left, 1, false)[0]
	b.mu.Lock()
	b.charge(rest, b.total)
	b.mu.Unlock()
	receiveAll(t, other, size, sent)
	if got := c.send.size(); got > tcpBufferFloor {
		t.Errorf("the buffer has %d while nothing is left", got)
	}
}
