package wireguard

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wimble-proxy/wimble/wireguard/engine"
)

// stubbornConn is a socket of the system that refuses some sends.
type stubbornConn struct {
	*net.UDPConn
	refuse func(b, oob []byte, to netip.AddrPort) error
	calls  atomic.Int32
}

func (c *stubbornConn) WriteMsgUDPAddrPort(b, oob []byte, to netip.AddrPort) (int, int, error) {
	c.calls.Add(1)
	if err := c.refuse(b, oob, to); err != nil {
		return 0, 0, &net.OpError{Op: "write", Net: "udp", Err: err}
	}
	return c.UDPConn.WriteMsgUDPAddrPort(b, oob, to)
}

func stubbornSocket(t *testing.T, refuse func(b, oob []byte, to netip.AddrPort) error) (*socket, *stubbornConn) {
	t.Helper()
	c, err := listenUDP(t.Context(), "udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stubborn := &stubbornConn{UDPConn: c.(*net.UDPConn), refuse: refuse}
	s := &socket{conn: stubborn, closed: make(chan struct{})}
	s.setup(slog.New(slog.DiscardHandler))
	t.Cleanup(s.close)
	return s, stubborn
}

// TestSegmentFallback: where the kernel does not segment, the same batch
// leaves singly, other endpoints are not touched, and it is tried again later.
func TestSegmentFallback(t *testing.T) {
	const stride, count = 1452, 10
	for _, refusal := range []error{unix.EIO, unix.EINVAL, unix.EMSGSIZE} {
		b, other := loopbackSocket(t, "udp4", "127.0.0.1"), loopbackSocket(t, "udp4", "127.0.0.1")
		to := b.conn.LocalAddr().(*net.UDPAddr).AddrPort()
		s, conn := stubbornSocket(t, func(msg, _ []byte, at netip.AddrPort) error {
			if at == to && len(msg) > stride {
				return refusal
			}
			return nil
		})
		if !s.segment {
			t.Fatal("this kernel has no UDP_SEGMENT: the fallback can't be tested")
		}
		batch, next := bytes.Repeat([]byte{7}, count*stride), receiving(t, b)
		for round, wantCalls := range []int32{1 + count, count} {
			conn.calls.Store(0)
			if err := s.send(batch, stride, engine.Endpoint{Addr: to}); err != nil {
				t.Fatalf("%v, round %d: %v", refusal, round, err)
			}
			if got := conn.calls.Load(); got != wantCalls {
				t.Errorf("%v, round %d: %d calls, want %d", refusal, round, got, wantCalls)
			}
			for got := 0; got < len(batch); {
				for _, r := range next() {
					got += len(r.datagrams)
				}
			}
		}
		conn.calls.Store(0)
		if err := s.send(batch, stride, engine.Endpoint{Addr: other.conn.LocalAddr().(*net.UDPAddr).AddrPort()}); err != nil || conn.calls.Load() != 1 {
			t.Errorf("%v: another endpoint took %d calls (%v), want 1", refusal, conn.calls.Load(), err)
		}
		s.plain.mu.Lock()
		s.plain.until[to] = time.Now().Add(-time.Second)
		s.plain.mu.Unlock()
		conn.calls.Store(0)
		if err := s.send(batch, stride, engine.Endpoint{Addr: to}); err != nil || conn.calls.Load() != 1+count {
			t.Errorf("%v: a minute later it took %d calls (%v), want one packed try again", refusal, conn.calls.Load(), err)
		}
	}
}

// TestSegmentErrorIsReported: an error that has nothing to do with segments
// is no reason to send a batch ten times.
func TestSegmentErrorIsReported(t *testing.T) {
	s, conn := stubbornSocket(t, func(_, _ []byte, _ netip.AddrPort) error { return unix.ENETUNREACH })
	to := engine.Endpoint{Addr: netip.MustParseAddrPort("127.0.0.1:9")}
	if err := s.send(make([]byte, 2000), 1000, to); !errors.Is(err, unix.ENETUNREACH) || conn.calls.Load() != 1 {
		t.Errorf("error %v after %d calls, want ENETUNREACH after one", err, conn.calls.Load())
	}
}

// TestOutbox: what it does not take has its zone looked up, is long, or is for
// the other family; and its errors are the system's and package net's.
func TestOutbox(t *testing.T) {
	s := loopbackSocket(t, "udp6", "[::1]")
	for _, test := range []struct {
		to    string
		size  int
		takes bool
	}{
		{"[::1]:9", quickSend, true},
		{"[::1]:9", quickSend + 1, false},
		{"[::1]:9", 0, false},
		{"[fe80::1%lo]:9", 1, false},
		{"127.0.0.1:9", 1, false},
	} {
		if got := s.outbox.takes(make([]byte, test.size), netip.MustParseAddrPort(test.to)); got != test.takes {
			t.Errorf("takes %d bytes to %s: %t, want %t", test.size, test.to, got, test.takes)
		}
	}
	if err := s.send([]byte("x"), 1, engine.Endpoint{Addr: netip.MustParseAddrPort("[::1]:0")}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("to port 0: %v, want EINVAL", err)
	}
	s.close()
	if err := s.send([]byte("x"), 1, engine.Endpoint{Addr: netip.MustParseAddrPort("[::1]:9")}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("by a closed socket: %v, want net.ErrClosed", err)
	}
}

// TestStickySource: what arrived at 127.0.0.2 is answered from 127.0.0.2, and
// from any address once the host does not have that one any more.
func TestStickySource(t *testing.T) {
	for _, family := range []struct{ network, listen, spoken string }{
		{"udp4", "0.0.0.0", "127.0.0.2"},
		{"udp6", "[::]", "::1"},
	} {
		server := loopbackSocket(t, family.network, family.listen)
		client := loopbackSocket(t, family.network, family.listen)
		at := netip.AddrPortFrom(netip.MustParseAddr(family.spoken), portOf(server.conn))
		if err := client.send([]byte("hello"), 5, engine.Endpoint{Addr: at}); err != nil {
			t.Fatal(err)
		}
		from, answer := receiving(t, server)()[0].from, receiving(t, client)
		if from.Source != at.Addr() {
			t.Fatalf("source %v, want %v", from.Source, at.Addr())
		}
		if err := server.send([]byte("answer"), 6, from); err != nil {
			t.Fatal(err)
		}
		if from := answer()[0].from; from.Addr != at {
			t.Errorf("answered from %v, want %v", from.Addr, at)
		}
		from.Source = map[string]netip.Addr{"udp4": netip.MustParseAddr("203.0.113.1"), "udp6": netip.MustParseAddr("2001:db8::1")}[family.network]
		if err := server.send([]byte("answer"), 6, from); err != nil {
			t.Errorf("an address that went away: %v", err)
		}
		answer()
	}
}

// TestReceiveSeveral: single datagrams of several sources come in one call,
// each with its source; after a train, one message is taken at a time.
func TestReceiveSeveral(t *testing.T) {
	for _, family := range []struct{ network, host string }{{"udp4", "127.0.0.1"}, {"udp6", "[::1]"}} {
		b := loopbackSocket(t, family.network, family.host)
		to := engine.Endpoint{Addr: b.conn.LocalAddr().(*net.UDPAddr).AddrPort()}
		senders := make([]*socket, 5)
		for i := range senders {
			senders[i] = loopbackSocket(t, family.network, family.host)
		}
		single := func(first, last int) {
			t.Helper()
			for i := first; i <= last; i++ {
				from := senders[i%len(senders)]
				if err := from.send(bytes.Repeat([]byte{byte(i)}, i), i, to); err != nil {
					t.Fatal(err)
				}
			}
		}
		next := receiving(t, b)
		expect := func(first, last int) {
			t.Helper()
			trains := next()
			if len(trains) != last-first+1 {
				t.Fatalf("%s: %d messages, want those of %d to %d bytes", family.network, len(trains), first, last)
			}
			for i, r := range trains {
				want := bytes.Repeat([]byte{byte(first + i)}, first+i)
				from := senders[(first+i)%len(senders)].conn.LocalAddr().(*net.UDPAddr).AddrPort()
				if !bytes.Equal(r.datagrams, want) || r.from.Addr != from {
					t.Errorf("%s: % x from %v, want % x from %v", family.network, r.datagrams, r.from.Addr, want, from)
				}
			}
		}
		single(1, 2+maxTrains+3)
		expect(1, 1)
		expect(2, 1+maxTrains)
		expect(2+maxTrains, 2+maxTrains+3)
		if err := senders[0].send(make([]byte, 3000), 1000, to); err != nil {
			t.Fatal(err)
		}
		single(1, 2)
		if trains := next(); len(trains) != 3 || trains[0].stride != 1000 || len(trains[0].datagrams) != 3000 {
			t.Fatalf("%s: %d messages, want a train and two more", family.network, len(trains))
		}
		single(3, 4)
		expect(3, 3)
		expect(4, 4)
	}
}

// TestCloseInFlood closes a socket whose queue is never empty, or never for
// longer than a rest.
func TestCloseInFlood(t *testing.T) {
	for name, work := range map[string]time.Duration{"overloaded": time.Millisecond, "resting": 0} {
		t.Run(name, func(t *testing.T) {
			b := loopbackSocket(t, "udp4", "127.0.0.1")
			received := make(chan struct{}, 1)
			done := make(chan error, 1)
			go func() {
				done <- b.receive(func([]train) {
					select {
					case received <- struct{}{}:
					default:
					}
					time.Sleep(work)
				})
			}()
			stop := make(chan struct{})
			var flood sync.WaitGroup
			defer flood.Wait()
			defer close(stop)
			for range 2 {
				flood.Go(func() {
					a, err := net.Dial("udp4", b.conn.LocalAddr().String())
					if err != nil {
						t.Error(err)
						return
					}
					defer a.Close()
					for {
						select {
						case <-stop:
							return
						default:
							_, _ = a.Write([]byte("flood")) // refused once the socket is closed
						}
					}
				})
			}
			for range 100 {
				<-received
			}
			go b.conn.Close()
			select {
			case err := <-done:
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("receive: %v", err)
				}
			case <-time.After(10 * time.Second):
				t.Error("receives on though the socket was closed")
			}
		})
	}
}
