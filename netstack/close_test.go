package netstack

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// A slow link slows the senders down: nothing is dropped, and what waits is
// bounded.
func TestBackPressure(t *testing.T) {
	p := newPair(t)
	dialed, accepted := p.connect(t, right4)
	u, err := p.left.DialContext(t.Context(), "udp", "10.0.0.2:7")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.right.ListenPacket(t.Context(), "udp", ":7"); err != nil {
		t.Fatal(err)
	}
	hold := make(chan struct{})
	sent := 0
	p.fromLeft.set(func() {
		p.fromLeft.hold = hold
		p.fromLeft.edit = func(packet []byte) []byte {
			if ip := header.IPv4(packet); ip.TransportProtocol() == header.UDPProtocolNumber {
				if text := header.UDP(ip.Payload()).Payload(); text[0] != byte(sent) || text[1] != byte(sent>>8) {
					t.Errorf("datagram %d is number % x", sent, text[:2])
				}
				sent++
			}
			return packet
		}
	})

	const datagrams = 2000 // more than the queue holds
	wrote := make(chan error, 2)
	go func() {
		var err error
		for i := range datagrams {
			_, one := u.Write([]byte{byte(i), byte(i >> 8), 999: 0})
			err = errors.Join(err, one)
		}
		wrote <- err
	}()
	data := noise(1, 4<<20)
	go func() {
		_, err := dialed.Write(data)
		wrote <- err
	}()
	for p.left.Stats().TransmitWaits == 0 {
		select {
		case <-wrote:
			t.Fatal("nobody had to wait for a link that stands still")
		default:
		}
	}
	p.left.nic.queue.mu.Lock()
	if q := p.left.nic.queue; q.bytes > maxQueuedBytes+65536 || q.count > maxQueuedBatches {
		t.Errorf("%d bytes in %d batches are queued", q.bytes, q.count)
	}
	p.left.nic.queue.mu.Unlock()

	close(hold)
	if n, err := io.ReadFull(accepted, make([]byte, len(data))); err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	for range cap(wrote) {
		if err := <-wrote; err != nil {
			t.Error(err)
		}
	}
	p.left.Close()
	p.fromLeft.mu.Lock()
	defer p.fromLeft.mu.Unlock()
	if sent != datagrams {
		t.Errorf("%d datagrams were sent of %d", sent, datagrams)
	}
	if n := p.left.Stats().TransmitDrops; n != 0 {
		t.Errorf("%d packets were dropped", n)
	}
}

// Close returns, ends every call and leaves no goroutine, whatever goes on.
func TestCloseWithTrafficInFlight(t *testing.T) {
	const seed = 1
	for round := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, round))
		p := newPair(t)
		var calls sync.WaitGroup
		traffic(t, p, &calls, random)
		hold := make(chan struct{})
		if random.IntN(3) == 0 { // the link stands still, and the queue is full
			p.fromLeft.set(func() { p.fromLeft.hold = hold })
		}
		for range random.IntN(2000) { // a moment that depends on the seed
			_ = p.left.Stats()
		}
		var closed sync.WaitGroup
		for _, n := range []*Net{p.left, p.right} {
			if random.IntN(2) == 0 {
				closed.Go(func() { n.Close() })
			}
			closed.Go(func() { n.Close() })
		}
		close(hold)
		closed.Wait()
		calls.Wait()
		if _, err := p.left.DialContext(t.Context(), "tcp", "10.0.0.2:80"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("seed %d, round %d: dial after Close: %v", seed, round, err)
		}
		if _, err := p.left.ListenPacket(t.Context(), "udp", ":0"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("seed %d, round %d: listen after Close: %v", seed, round, err)
		}
		if _, err := p.left.Ping(t.Context(), right4); !errors.Is(err, net.ErrClosed) {
			t.Errorf("seed %d, round %d: ping after Close: %v", seed, round, err)
		}
		p.left.deliver([][]byte{udpPacket(right4, left4, "late")})
	}
}

// What was written to connections that are closed arrives, although the tunnel
// is closed at once; the end of a stream is passed on as such.
func TestCloseDeliversWhatWasWritten(t *testing.T) {
	data := noise(7, 3<<20)
	for _, c := range []struct {
		name  string
		first func(near, far *TCPConn) // before the near end closes
	}{
		{"near end first", func(near, far *TCPConn) {}},
		{"far end first", func(near, far *TCPConn) {
			far.CloseWrite()
			near.WaitReadable()
		}},
	} {
		for _, side := range []string{"own stack", "stack of the flows"} {
			t.Run(c.name+", "+side, func(t *testing.T) {
				near, far, tunnel := closing(t, side)
				c.first(near, far)
				received := make(chan error, 1)
				go func() {
					got, err := io.ReadAll(far)
					if err == nil && !bytes.Equal(got, data) {
						err = fmt.Errorf("%d bytes of %d came", len(got), len(data))
					}
					received <- err
				}()
				if _, err := near.Write(data); err != nil {
					t.Error(err)
				}
				near.Close()
				tunnel.Close()
				if err := <-received; err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// closing returns both ends of a connection, and the tunnel that the near one
// belongs to.
func closing(t *testing.T, side string) (near, far *TCPConn, tunnel *Net) {
	if side == "own stack" {
		p := newPair(t)
		near, far = p.connect(t, right4)
		return near, far, p.left
	}
	accept, flows := handOver(t)
	p := newGateway(t, Options{Accept: accept})
	dialed := p.dial(t.Context(), "tcp", netip.AddrPortFrom(foreign4, 80))
	c, err := (<-flows).Accept()
	if err != nil {
		t.Fatal(err)
	}
	r := <-dialed
	if r.err != nil {
		t.Fatal(r.err)
	}
	return c.(*TCPConn), r.conn.(*TCPConn), p.right
}

// Close does not wait for what nobody has to deliver: a connection that is
// open, one whose end the other side knows of, one that failed.
func TestCloseWaitsForNothingElse(t *testing.T) {
	p := newPair(t)
	open, _ := p.connect(t, right4)
	halfOpen, far := p.connect(t, right4)
	reset, _ := p.connect(t, right4)
	open.Write(make([]byte, 100<<10))
	open.CloseWrite()
	halfOpen.Close()
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Fatal(err)
	}
	for !delivered(halfOpen.ep.(*tcp.Endpoint)) { // until the acknowledgement is back
		runtime.Gosched()
	}
	reset.SetLinger(0)
	reset.Close()
	if left := p.left.resetOpen(); len(left) != 0 {
		t.Errorf("Close would wait for %d connections", len(left))
	}
}

// Close ends when the other end of a connection does not.
func TestCloseWithADeadFarEnd(t *testing.T) {
	p := newPair(t)
	c, far := p.connect(t, right4)
	far.SetLinger(0) // the near end is dead to it, too
	p.fromLeft.swallow()
	c.Write([]byte("nobody hears this"))
	c.Close()
	p.left.Close()
	// It was told that the stream broke off, if it still hears anything.
	if state := tcp.EndpointState(c.ep.State()); state != tcp.StateError {
		t.Errorf("the connection is in state %v", state)
	}
}

// After the tunnel was closed, everything in it says so.
func TestCloseClosesConnections(t *testing.T) {
	p := newPair(t)
	c, _ := p.connect(t, right4)
	l, err := p.left.Listen(t.Context(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	u, err := p.left.ListenPacket(t.Context(), "udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error)
	go func() {
		_, err := c.Read(make([]byte, 1))
		waiting <- err
	}()
	p.left.Close()
	_, write := c.Write([]byte("x"))
	_, accept := l.Accept()
	_, _, receive := u.ReadFrom(make([]byte, 1))
	_, send := u.WriteTo([]byte("x"), &net.UDPAddr{IP: right4.AsSlice(), Port: 53})
	for what, err := range map[string]error{
		"Read": <-waiting, "Write": write, "Accept": accept, "ReadFrom": receive, "WriteTo": send,
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// traffic begins everything that a tunnel can be asked for. Each call ends by
// an error, sooner or later.
func traffic(t *testing.T, p *pair, calls *sync.WaitGroup, random *rand.Rand) {
	l, err := p.right.Listen(t.Context(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	u, err := p.right.ListenPacket(t.Context(), "udp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	calls.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			calls.Go(func() { _, _ = io.Copy(c, c) }) // some are never closed
		}
	})
	calls.Go(func() {
		for _, _, err := u.ReadFrom(make([]byte, 2000)); err == nil; {
			_, _, err = u.ReadFrom(make([]byte, 2000))
		}
	})
	for _, to := range []netip.Addr{right4, right6} {
		for range 2 {
			slow := random.IntN(2) == 0
			calls.Go(func() {
				c, err := p.left.DialContext(t.Context(), "tcp", netip.AddrPortFrom(to, 80).String())
				if err != nil {
					return
				}
				if slow { // the reader stops, and then the writer
					_, _ = c.Write(make([]byte, 32<<20))
					return
				}
				calls.Go(func() { _, _ = io.Copy(io.Discard, c) })
				for err == nil {
					_, err = c.Write(make([]byte, 100<<10))
				}
				c.Close()
			})
		}
		calls.Go(func() {
			c, err := p.left.DialContext(t.Context(), "udp", netip.AddrPortFrom(to, 80).String())
			for err == nil {
				_, err = c.Write(make([]byte, 5000))
			}
		})
		calls.Go(func() {
			for err := error(nil); err == nil; {
				_, err = p.left.Ping(t.Context(), to)
			}
		})
		calls.Go(func() { // nobody is there
			_, _ = p.left.DialContext(t.Context(), "tcp", netip.AddrPortFrom(nobody4, 80).String())
		})
	}
}

// A tunnel that was never used, one whose start failed, and a second Close.
func TestCloseAtOnce(t *testing.T) {
	for range 50 {
		p := newPair(t)
		p.left.Close()
		p.left.Close()
	}
	n := &Net{}
	w := newWire(t, 1200, nil)
	if err := n.start(w, []netip.Prefix{netip.PrefixFrom(left6, 128)}, stackOptions()); err == nil {
		t.Error("an IPv6 address was taken with an MTU of 1200")
	}
	if err := n.start(newWire(t, wireguard.DefaultMTU, nil), []netip.Prefix{
		netip.PrefixFrom(left4, 32), netip.PrefixFrom(left4, 24),
	}, stackOptions()); err == nil {
		t.Error("one address was taken twice")
	}
}
