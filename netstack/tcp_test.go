package netstack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// connect returns both ends of a connection from left to right.
func (p *pair) connect(t testing.TB, to netip.Addr) (dialed, accepted *TCPConn) {
	t.Helper()
	l, err := p.right.Listen(t.Context(), "tcp", netip.AddrPortFrom(to, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := p.left.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return c.(*TCPConn), a.(*TCPConn)
}

// noise returns n bytes that depend on seed alone.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(b)
	return b
}

func TestTCPCarriesDataBothWays(t *testing.T) {
	for _, to := range []netip.Addr{right4, right6} {
		t.Run(to.String(), func(t *testing.T) {
			p := newPair(t)
			dialed, accepted := p.connect(t, to)
			if got, want := dialed.RemoteAddr().String(), accepted.LocalAddr().String(); got != want {
				t.Errorf("remote address is %s, the other end's local one %s", got, want)
			}
			if got, want := accepted.RemoteAddr().String(), dialed.LocalAddr().String(); got != want {
				t.Errorf("remote address is %s, the other end's local one %s", got, want)
			}
			const size = 4 << 20
			results := make(chan error, 4)
			for seed, ends := range [][2]*TCPConn{{dialed, accepted}, {accepted, dialed}} {
				data := noise(uint64(seed), size)
				go func() {
					_, err := ends[0].Write(data)
					results <- errors.Join(err, ends[0].CloseWrite())
				}()
				go func() {
					h := sha256.New()
					n, err := io.Copy(h, ends[1])
					if want := sha256.Sum256(data); n != size || !bytes.Equal(h.Sum(nil), want[:]) {
						err = errors.Join(err, errors.New("received data differ"))
					}
					results <- err
				}()
			}
			for range cap(results) {
				if err := <-results; err != nil {
					t.Error(err)
				}
			}
			s := p.left.Stats()
			if s.SegmentBursts == 0 || s.SegmentPackets <= s.SegmentBursts {
				t.Errorf("%d packets in %d bursts: nothing was cut", s.SegmentPackets, s.SegmentBursts)
			}
			if s.TransmitDrops+s.DeliverMalformed+s.DeliverChecksum != 0 {
				t.Errorf("packets were dropped: %+v", s)
			}
		})
	}
}

func TestTCPHalfClose(t *testing.T) {
	dialed, accepted := newPair(t).connect(t, right4)
	exchange := func(from, to *TCPConn, text string) {
		t.Helper()
		if _, err := from.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
			t.Fatalf("read %q, %v; want %q", got, err, text)
		}
	}
	exchange(dialed, accepted, "ping")
	if err := dialed.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := accepted.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("Read behind the end: %d, %v; want EOF as it is", n, err)
	}
	exchange(accepted, dialed, "still open the other way")
	if _, err := dialed.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write after CloseWrite: %v; want EPIPE", err)
	}
	if err := dialed.CloseRead(); err != nil {
		t.Fatal(err)
	}
	if _, err := dialed.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("Read after CloseRead: %v; want EOF", err)
	}
}

func TestTCPToOneself(t *testing.T) {
	p := newPair(t)
	l, err := p.left.Listen(t.Context(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, to := range []string{"10.0.0.1:80", "[fd00::1]:80"} {
		c, err := p.left.DialContext(t.Context(), "tcp", to)
		if err != nil {
			t.Fatal(err) // no peer has the own address: the link is not asked
		}
		defer c.Close()
		a, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		data := noise(1, 200<<10)
		go func() {
			_, _ = c.Write(data)
			c.Close()
		}()
		if got, err := io.ReadAll(a); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v", to, len(got), err)
		}
	}
}

func TestTCPDeadlines(t *testing.T) {
	dialed, accepted := newPair(t).connect(t, right4)
	past := time.Now().Add(-time.Second)

	check := func(what string, err error) {
		t.Helper()
		var op *net.OpError
		if !errors.As(err, &op) || !op.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v; want a time-out", what, err)
		}
	}
	dialed.SetReadDeadline(past)
	_, err := dialed.Read(make([]byte, 1))
	check("Read past its deadline", err)
	check("WaitReadable past the deadline", dialed.WaitReadable())
	if _, err := dialed.Write([]byte("x")); err != nil {
		t.Errorf("Write past the deadline of Read: %v", err)
	}
	dialed.SetWriteDeadline(past)
	_, err = dialed.Write([]byte("x"))
	check("Write past its deadline", err)

	dialed.SetDeadline(time.Time{})
	blocked := make(chan error)
	go func() {
		_, err := dialed.Read(make([]byte, 1))
		blocked <- err
	}()
	dialed.SetReadDeadline(time.Now().Add(time.Hour))
	dialed.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	check("Read that waits", <-blocked)

	go func() { // the other end does not read
		_, err := dialed.Write(noise(1, 64<<20))
		blocked <- err
	}()
	dialed.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	check("Write that waits", <-blocked)

	dialed.SetReadDeadline(time.Time{})
	if _, err := accepted.Write([]byte("y")); err != nil {
		t.Fatal(err)
	}
	if n, err := dialed.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("Read after the deadline was removed: %d, %v", n, err)
	}
}

func TestTCPWaitReadable(t *testing.T) {
	dialed, accepted := newPair(t).connect(t, right4)
	waited := make(chan error)
	wait := func() { waited <- dialed.WaitReadable() }

	go wait()
	if _, err := accepted.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	if n, err := dialed.Read(make([]byte, 9)); n != 1 || err != nil {
		t.Fatalf("Read after WaitReadable: %d, %v", n, err)
	}
	go wait()
	accepted.CloseWrite()
	if err := <-waited; err != nil {
		t.Errorf("WaitReadable at the end of the data: %v", err)
	}
	dialed.Close()
	if err := dialed.WaitReadable(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("WaitReadable after Close: %v", err)
	}
}

func TestTCPReset(t *testing.T) {
	dialed, accepted := newPair(t).connect(t, right4)
	waiting := make(chan error)
	go func() {
		_, err := accepted.Read(make([]byte, 1))
		waiting <- err
	}()
	dialed.SetLinger(0)
	dialed.Close()
	var op *net.OpError
	err := <-waiting
	if !errors.As(err, &op) || op.Op != "read" || op.Net != "tcp" || op.Source == nil || op.Addr == nil ||
		!errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Read: %#v; want a whole OpError around ECONNRESET", err)
	}
	// The stack tells only the first who asks. Nobody must take a part of the
	// data for all of it.
	if _, err := accepted.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Write: %v; want ECONNRESET", err)
	}
	if _, err := accepted.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Read: %v; want ECONNRESET", err)
	}
}

func TestCloseEndsCalls(t *testing.T) {
	p := newPair(t)
	dialed, _ := p.connect(t, right4)
	l, err := p.left.Listen(t.Context(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	u, err := p.left.ListenPacket(t.Context(), "udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	for _, c := range []struct {
		call func() error
		io.Closer
	}{
		{func() error { _, err := dialed.Read(make([]byte, 1)); return err }, dialed},
		{func() error { _, err := l.Accept(); return err }, l},
		{func() error { _, _, err := u.ReadFrom(make([]byte, 1)); return err }, u},
	} {
		go func() { ended <- c.call() }()
		if err := c.Close(); err != nil {
			t.Errorf("%T: %v", c.Closer, err)
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("%T: a call that waited returned %v", c.Closer, err)
		}
		if err := c.call(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%T: a call after Close returned %v", c.Closer, err)
		}
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%T: second Close: %v", c.Closer, err)
		}
	}
	if _, err := dialed.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	p := newPair(t)
	p.fromLeft.swallow()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := p.left.DialContext(ctx, "tcp", "10.0.0.2:80")
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("canceled dial: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := p.left.DialContext(ctx, "tcp", "10.0.0.2:80")
	var timeout net.Error
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("dial past its deadline: %v", err)
	}
	if open := p.left.stack.Stats().TCP.CurrentConnected.Value(); open != 0 {
		t.Errorf("%d connections are left", open)
	}
}

// A connection goes on after the link was gone for several time-outs, however
// small its window has become.
func TestTCPOutlivesOutage(t *testing.T) {
	for i := range 8 {
		outage, control := []int{1, 2, 3, 5}[i%4], []tcpip.CongestionControlOption{reno, cubic}[i/4]
		clock, option := manualClock()
		p := newPair(t, option)
		p.left.congestion = control
		if i/4 == 1 {
			p.left.congestion = "" // the clock stands, so nothing is known of the way
		}
		dialed, accepted := p.connect(t, right4)
		data := noise(1, 256<<10)
		go func() {
			_, _ = dialed.Write(data)
			dialed.CloseWrite()
		}()
		received := make(chan error, 1)
		go func() {
			got, err := io.ReadAll(accepted)
			if err == nil && !bytes.Equal(got, data) {
				err = errors.New("the data differ")
			}
			received <- err
		}()
		lost := 0
		p.fromLeft.set(func() {
			p.fromLeft.edit = func(packet []byte) []byte {
				if tcp, err := segment(packet); err == nil && len(tcp.Payload()) > 0 && lost < 10+outage {
					lost++ // a window, and then what is sent again
					return nil
				}
				return packet
			}
		})
		ended := false
		for passed := time.Duration(0); !ended; passed += 100 * time.Millisecond {
			select {
			case err := <-received:
				if err != nil {
					t.Errorf("%s, %d time-outs: %v", control, outage, err)
				}
				ended = true
			case <-time.After(time.Millisecond):
				clock.Advance(100 * time.Millisecond)
				if passed > 10*time.Minute {
					t.Fatalf("%s, %d time-outs: the connection is stuck", control, outage)
				}
			}
		}
	}
}
