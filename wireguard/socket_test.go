package wireguard

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
)

// scriptedHost opens real loopback sockets, after failing as it is told.
type scriptedHost struct {
	fail   map[string]error // by network
	inUse6 int              // how many IPv6 ports are found taken first
	opened []string
}

func (h *scriptedHost) listen(ctx context.Context, network, address string) (PacketConn, error) {
	if err := h.fail[network]; err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	if network == "udp6" && h.inUse6 > 0 {
		h.inUse6--
		return nil, &net.OpError{Op: "listen", Net: network, Err: syscall.EADDRINUSE}
	}
	h.opened = append(h.opened, network)
	host := map[string]string{"udp4": "127.0.0.1", "udp6": "[::1]"}[network]
	return listenUDP(ctx, network, host+address)
}

func TestSocketsOpen(t *testing.T) {
	taken, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, test := range []struct {
		name   string
		host   scriptedHost
		port   uint16
		v4, v6 bool
		err    error
	}{
		{name: "both families on one port", v4: true, v6: true},
		{name: "no IPv6 on the host", host: scriptedHost{fail: map[string]error{"udp6": syscall.EAFNOSUPPORT}}, v4: true},
		{name: "no IPv6 address on the host", host: scriptedHost{fail: map[string]error{"udp6": syscall.EADDRNOTAVAIL}}, v4: true},
		{name: "no IPv4 on the host", host: scriptedHost{fail: map[string]error{"udp4": syscall.EAFNOSUPPORT}}, v6: true},
		{
			name: "neither", host: scriptedHost{fail: map[string]error{"udp4": syscall.EAFNOSUPPORT, "udp6": syscall.EAFNOSUPPORT}},
			err: syscall.EAFNOSUPPORT,
		},
		{name: "the random port is taken for IPv6", host: scriptedHost{inUse6: 5}, v4: true, v6: true},
		{name: "every random port is taken for IPv6", host: scriptedHost{inUse6: portAttempts}, err: syscall.EADDRINUSE},
		{name: "the configured port is taken for IPv4", port: portOf(taken), err: syscall.EADDRINUSE},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s sockets
			s.init(test.host.listen, test.port, slog.New(slog.DiscardHandler))
			err := s.open(t.Context(), func(*socket) {})
			defer s.close()
			if test.err != nil {
				if !errors.Is(err, test.err) || !strings.Contains(err.Error(), "UDP port") {
					t.Errorf("error %v, want %v with the port named", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			v4, v6 := s.v4.Load(), s.v6.Load()
			if (v4 != nil) != test.v4 || (v6 != nil) != test.v6 {
				t.Fatalf("sockets for IPv4 %t and IPv6 %t, want %t and %t", v4 != nil, v6 != nil, test.v4, test.v6)
			}
			if v4 != nil && v6 != nil && portOf(v4.conn) != portOf(v6.conn) {
				t.Errorf("ports %d and %d differ", portOf(v4.conn), portOf(v6.conn))
			}
		})
	}
}

// TestSocketTrain sends a batch between two sockets of the system and takes it
// apart again, in every size that the engine sends.
func TestSocketTrain(t *testing.T) {
	for _, family := range []struct{ network, host string }{{"udp4", "127.0.0.1"}, {"udp6", "[::1]"}} {
		for _, train := range []struct{ stride, length int }{{1452, 44 * 1452}, {1452, 3*1452 + 32}, {96, 20 * 96}, {32, 32}, {65507, 65507}} {
			a, b := loopbackSocket(t, family.network, family.host), loopbackSocket(t, family.network, family.host)
			sent := bytes.Repeat([]byte("0123456789abcdef-"), train.length/17+1)[:train.length]
			to := b.conn.LocalAddr().(*net.UDPAddr).AddrPort()
			if err := a.send(sent, train.stride, engine.Endpoint{Addr: to}); err != nil {
				t.Fatalf("%s, %d bytes by %d: %v", family.network, train.length, train.stride, err)
			}
			var got []byte
			calls, next := 0, receiving(t, b)
			for len(got) < len(sent) {
				for _, r := range next() {
					if r.stride != train.stride && len(r.datagrams) > r.stride {
						t.Errorf("%s: received by %d, sent by %d", family.network, r.stride, train.stride)
					}
					if r.from.Addr != a.conn.LocalAddr().(*net.UDPAddr).AddrPort() {
						t.Errorf("from %v, want %v", r.from.Addr, a.conn.LocalAddr())
					}
					got = append(got, r.datagrams...)
				}
				calls++
			}
			if !bytes.Equal(got, sent) {
				t.Errorf("%s, %d bytes by %d: changed on the way", family.network, train.length, train.stride)
			}
			t.Logf("%s: %d bytes by %d in %d reads", family.network, train.length, train.stride, calls)
		}
	}
}

func loopbackSocket(t *testing.T, network, host string) *socket {
	t.Helper()
	c, err := listenUDP(t.Context(), network, host+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := &socket{conn: c, closed: make(chan struct{})}
	s.setup(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { c.Close() }) // the test may have closed it
	return s
}

// receiving returns a function that waits for what the socket hands on next. It
// is the socket's again with the next call.
func receiving(t testing.TB, s *socket) (next func() []train) {
	var ended error
	pull, stop := iter.Pull(func(yield func([]train) bool) {
		more := true
		ended = s.receive(func(trains []train) {
			if more = more && yield(trains); !more {
				_ = s.conn.(*net.UDPConn).SetReadDeadline(time.Unix(1, 0))
			}
		})
	})
	t.Cleanup(stop)
	return func() []train {
		t.Helper()
		trains, ok := pull()
		if !ok {
			t.Fatalf("receive: %v", ended)
		}
		return trains
	}
}

// TestReceiveMissesNothing sends bursts of as many datagrams as one call takes,
// and of one more and one less, each when the receiver has nothing left to do or
// is just about to wait. What it does not see before it waits must wake it.
func TestReceiveMissesNothing(t *testing.T) {
	const rounds, most = 50, 32
	a, b := loopbackSocket(t, "udp4", "127.0.0.1"), loopbackSocket(t, "udp4", "127.0.0.1")
	to := engine.Endpoint{Addr: b.conn.LocalAddr().(*net.UDPAddr).AddrPort()}
	var got atomic.Int64
	ended := make(chan error)
	go func() {
		ended <- b.receive(func(trains []train) {
			for i := range trains {
				got.Add(int64(len(trains[i].datagrams)))
			}
		})
	}()
	sent := int64(0)
	for range rounds {
		for _, burst := range []int{most, most + 1, 1, most - 1, 2*most + 1} {
			for range burst {
				if err := a.send([]byte("single"), 6, to); err != nil {
					t.Fatal(err)
				}
			}
			// After a train the next call takes one message.
			if err := a.send(make([]byte, 3000), 1000, to); err != nil {
				t.Fatal(err)
			}
			sent += int64(6*burst + 3000)
			waitFor(t, func() bool { return got.Load() == sent })
		}
	}
	b.close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("receive of a closed socket: %v, want net.ErrClosed", err)
	}
}

// TestReceiveAfterAnError: what came while the receiver paused is there when it
// goes on, though nothing more comes that could wake it.
func TestReceiveAfterAnError(t *testing.T) {
	a, b := loopbackSocket(t, "udp4", "127.0.0.1"), loopbackSocket(t, "udp4", "127.0.0.1")
	to := engine.Endpoint{Addr: b.conn.LocalAddr().(*net.UDPAddr).AddrPort()}
	conn := b.conn.(*net.UDPConn)
	if err := a.send([]byte("before"), 6, to); err != nil {
		t.Fatal(err)
	}
	var got []string
	fails := func([]train) { t.Error("something was received") }
	note := func(trains []train) {
		for i := range trains {
			got = append(got, string(trains[i].datagrams))
		}
		_ = conn.SetReadDeadline(time.Unix(1, 0)) // it would wait for more
	}
	_ = conn.SetReadDeadline(time.Unix(1, 0))
	if err := b.receive(fails); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("receive: %v, want the deadline's error", err)
	}
	_ = conn.SetReadDeadline(time.Time{})
	if err := b.receive(note); !errors.Is(err, os.ErrDeadlineExceeded) || len(got) != 1 || got[0] != "before" {
		t.Errorf("received %q, %v; want what was sent", got, err)
	}
}

// TestCloseWhileHandling closes a socket while what it received is handled, and
// more waits.
func TestCloseWhileHandling(t *testing.T) {
	a, b := loopbackSocket(t, "udp4", "127.0.0.1"), loopbackSocket(t, "udp4", "127.0.0.1")
	to := engine.Endpoint{Addr: b.conn.LocalAddr().(*net.UDPAddr).AddrPort()}
	for range 2 {
		if err := a.send([]byte("one"), 3, to); err != nil {
			t.Fatal(err)
		}
	}
	closed := make(chan bool)
	err := b.receive(func([]train) {
		select {
		case <-b.closed:
		default:
			go func() { b.close(); close(closed) }()
			<-b.closed
		}
	})
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("receive: %v, want net.ErrClosed", err)
	}
	<-closed
}

// TestDeviceMovesPort: sessions and packets go on over a change of the port.
func TestDeviceMovesPort(t *testing.T) {
	sides := loopbackPair(t)
	run(t, sides[:]...)
	a, b := sides[0], sides[1]
	<-a.Ready()
	<-b.Ready()
	aims(t, a, b)
	a.send(t, b, 1, 84)
	waitFor(t, func() bool { return b.received() == 1 })

	port := freePort(t)
	if err := a.Apply(Change{ListenPort: &port}); err != nil {
		t.Fatal(err)
	}
	if a.ListenPort() != port {
		t.Fatalf("port %d, want %d", a.ListenPort(), port)
	}
	a.send(t, b, 1, 84)
	waitFor(t, func() bool { return b.received() == 2 })
	b.send(t, a, 1, 84)
	waitFor(t, func() bool { return a.received() == 1 })
	if n := a.events.count(engine.EventHandshake); n != 1 {
		t.Errorf("%d handshakes, want the one from before", n)
	}
	if to, _ := b.engine.Peer(a.private.Public()).Endpoint(); to.Addr.Port() != port {
		t.Errorf("the other side still sends to %v", to.Addr)
	}

	taken := b.ListenPort()
	if err := a.Apply(Change{ListenPort: &taken}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a port in use: %v", err)
	}
	a.send(t, b, 1, 84)
	waitFor(t, func() bool { return b.received() == 3 })
}

// loopbackPair is a pair on real sockets of 127.0.0.1 and ::1.
func loopbackPair(t *testing.T) [2]*side {
	t.Helper()
	return pairOf(t, newMemNet(), &testClock{start: time.Now()}, func(_ int, c *Config) {
		c.ListenPort, c.ListenPacket, c.Clock = 0, new(scriptedHost).listen, nil
	})
}

// aims tells a where b listens.
func aims(t *testing.T, a, b *side) {
	t.Helper()
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), b.ListenPort())
	err := a.Apply(Change{Peers: []PeerChange{{PeerChange: engine.PeerChange{PublicKey: b.private.Public(), Endpoint: &to}}}})
	if err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return portOf(c)
}

// waitFor polls until what real sockets bring is there.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen in 20 s")
		}
	}
}
