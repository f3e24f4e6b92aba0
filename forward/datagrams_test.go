package forward

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// newUDPFlow is a flow of UDP. A net.Pipe keeps the bounds of what is written to it.
func newUDPFlow(source, destination string) *testFlow {
	far, near := net.Pipe()
	return &testFlow{
		network: "udp", source: netip.MustParseAddrPort(source), destination: netip.MustParseAddrPort(destination),
		near: near, far: far,
	}
}

// sockets are the targets of UDP flows: how many are open, and were at most.
type sockets struct {
	open, most atomic.Int32
	far        chan net.Conn
}

func newSockets() *sockets { return &sockets{far: make(chan net.Conn, 1)} }

func (s *sockets) Dial(context.Context, string, string) (net.Conn, error) {
	far, near := net.Pipe()
	s.most.Store(max(s.most.Load(), s.open.Add(1)))
	s.far <- far
	return &socket{Conn: near, open: &s.open}, nil
}

type socket struct {
	net.Conn
	open   *atomic.Int32
	closed sync.Once
}

func (s *socket) Close() error {
	s.closed.Do(func() { s.open.Add(-1) })
	return s.Conn.Close()
}

// datagram passes one from one end to the other.
func datagram(t *testing.T, from, to net.Conn, s string) {
	t.Helper()
	go func() { _, _ = from.Write([]byte(s)) }()
	buf := make([]byte, largeSize)
	n, err := to.Read(buf)
	if err != nil || string(buf[:n]) != s {
		t.Fatalf("read %q, %v; want %q", buf[:n], err, s)
	}
}

func TestDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := newSockets()
		g := &Gateway{Allow: lan, Dial: hosts.Dial}
		f := newUDPFlow("10.0.0.2:1234", "192.168.1.5:53")
		done := serve(t.Context(), g, f)
		target := <-hosts.far
		for _, s := range []string{"a", "", string(make([]byte, 65507)), "the end"} {
			datagram(t, f.far, target, s)
			datagram(t, target, f.far, s)
		}
		synctest.Wait()
		if n := g.buffers.taken.Load(); n != 2 {
			t.Errorf("%d buffers in use, want one for each direction that can't tell when it is readable", n)
		}
		if s := g.Stats(); s.Flows != 1 {
			t.Errorf("%d flows, want 1", s.Flows)
		}
		f.far.Close()
		<-done
		if s := g.Stats(); s != (GatewayStats{Up: 65515, Down: 65515}) {
			t.Errorf("stats are %+v", s)
		}
		if n := hosts.open.Load(); n != 0 {
			t.Errorf("%d sockets are left open", n)
		}
	})
}

// TestUDPSockets carries between real ones, which say when they are readable.
func TestUDPSockets(t *testing.T) {
	echo, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	pair := func() (a, b net.Conn) {
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		a, err = net.Dial("udp", u.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		u.Close()
		b, err = (&net.Dialer{LocalAddr: a.RemoteAddr()}).Dial("udp", a.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		return a, b
	}
	f := newUDPFlow("10.0.0.2:1234", "192.168.1.5:53")
	f.far, f.near = pair()
	defer f.far.Close()
	g := &Gateway{Allow: lan, Dial: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("udp", echo.LocalAddr().String())
	}}
	done := serve(t.Context(), g, f)
	buf := make([]byte, largeSize)
	for _, n := range []int{1, 0, 65507, 5} {
		if _, err := f.far.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		got, from, err := echo.ReadFrom(buf)
		if err != nil || got != n {
			t.Fatalf("%d bytes, %v; want %d", got, err, n)
		}
		if _, err := echo.WriteTo(buf[:got], from); err != nil {
			t.Fatal(err)
		}
		if got, err := f.far.Read(buf); err != nil || got != n {
			t.Fatalf("%d bytes, %v; want %d", got, err, n)
		}
		for g.buffers.taken.Load() != 0 {
			time.Sleep(time.Millisecond)
		}
	}
	echo.Close()
	if _, err := f.far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	<-done
	if f.refusals != 1 || !errors.Is(f.refused, syscall.ECONNREFUSED) {
		t.Errorf("refused with %v, want what the target says", f.refused)
	}
}

func TestUDPIdle(t *testing.T) {
	for _, c := range []struct {
		name           string
		oneWay, twoWay time.Duration // the fields
		do             func(t *testing.T, client, target net.Conn)
		want           time.Duration // from the last datagram
	}{
		{name: "silent", want: 30 * time.Second},
		{name: "one way", want: 30 * time.Second, do: func(t *testing.T, client, target net.Conn) {
			for range 5 {
				time.Sleep(29 * time.Second)
				datagram(t, client, target, "x")
			}
		}},
		{name: "two ways", want: 180 * time.Second, do: func(t *testing.T, client, target net.Conn) {
			datagram(t, client, target, "x")
			datagram(t, target, client, "y")
			for range 5 {
				time.Sleep(179 * time.Second)
				datagram(t, client, target, "x")
			}
		}},
		{name: "answers alone", want: 180 * time.Second, do: func(t *testing.T, client, target net.Conn) {
			for range 5 {
				datagram(t, target, client, "y")
				time.Sleep(29 * time.Second)
			}
			datagram(t, target, client, "y")
		}},
		{name: "own limits", oneWay: time.Second, twoWay: 3 * time.Second, want: time.Second},
		{name: "own limits, two ways", oneWay: time.Second, twoWay: 3 * time.Second, want: 3 * time.Second, do: func(t *testing.T, client, target net.Conn) {
			datagram(t, client, target, "x")
			datagram(t, target, client, "y")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hosts := newSockets()
				g := &Gateway{Allow: lan, Dial: hosts.Dial, OneWayTimeout: c.oneWay, TwoWayTimeout: c.twoWay}
				f := newUDPFlow("10.0.0.2:1234", "192.168.1.5:53")
				done := serve(t.Context(), g, f)
				target := <-hosts.far
				if c.do != nil {
					c.do(t, f.far, target)
				}
				last := time.Now()
				<-done
				if got := time.Since(last); got != c.want {
					t.Errorf("ended after %v of silence, want %v", got, c.want)
				}
				if f.refusals != 0 {
					t.Errorf("refused with %v, want no word", f.refused)
				}
			})
		})
	}
}

// TestN11 opens many more flows than there may be, from few sources.
func TestN11(t *testing.T) {
	const flows, limit, perSource = 2000, 16, 6
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		hosts := newSockets()
		g := &Gateway{Allow: lan, Dial: hosts.Dial, MaxFlows: limit, MaxFlowsPerSource: perSource}
		var all sync.WaitGroup
		for i := range flows {
			source := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i % 5)}), uint16(i))
			f := newUDPFlow(source.String(), "192.168.1.5:53")
			all.Go(func() { g.Serve(ctx, f) })
			<-hosts.far
			time.Sleep(time.Millisecond) // so that one is older than another
		}
		synctest.Wait()
		if s := g.Stats(); s.Flows != limit || s.Evicted != flows-limit || hosts.open.Load() != limit || hosts.most.Load() != limit {
			t.Errorf("stats are %+v, with %d sockets, %d at most; want %d flows and sockets", s, hosts.open.Load(), hosts.most.Load(), limit)
		}
		cancel()
		all.Wait()
		if s := g.Stats(); s.Flows != 0 || hosts.open.Load() != 0 {
			t.Errorf("%d flows and %d sockets are left", s.Flows, hosts.open.Load())
		}
	})
}

// TestOldestFlowGoes is about who has to make room.
func TestOldestFlowGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		hosts := newSockets()
		g := &Gateway{Allow: lan, Dial: hosts.Dial, MaxFlows: 3, MaxFlowsPerSource: 2}
		ended := map[string]<-chan struct{}{}
		begin := func(source string) (client, target net.Conn) {
			f := newUDPFlow(source, "192.168.1.5:53")
			ended[source] = serve(ctx, g, f)
			target = <-hosts.far
			time.Sleep(time.Second)
			return f.far, target
		}
		expect := func(when string, gone ...string) {
			t.Helper()
			synctest.Wait()
			for source, done := range ended {
				is := false
				select {
				case <-done:
					is = true
				default:
				}
				want := false
				for _, g := range gone {
					want = want || g == source
				}
				if is != want {
					t.Errorf("%s: the flow of %s has ended: %v; want %v", when, source, is, want)
				}
			}
		}
		begin("10.0.0.1:1")
		client, target := begin("10.0.0.2:1")
		begin("10.0.0.2:2")
		datagram(t, client, target, "x")
		time.Sleep(time.Second)
		begin("10.0.0.2:3")
		expect("one source has too many", "10.0.0.2:2")
		begin("10.0.0.3:1")
		expect("all have too many", "10.0.0.2:2", "10.0.0.1:1")
		cancel()
		for _, done := range ended {
			<-done
		}
	})
}

// failing is a connection whose writes fail, the first ones by errs.
type failing struct {
	net.Conn
	errs []error
}

func (f *failing) Write(b []byte) (int, error) {
	if len(f.errs) == 0 {
		return f.Conn.Write(b)
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	return 0, &net.OpError{Op: "write", Err: err}
}

func TestDatagramsThatAreNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far, near := net.Pipe()
		g := &Gateway{Allow: lan, Dial: func(context.Context, string, string) (net.Conn, error) {
			return &failing{near, []error{syscall.EMSGSIZE, syscall.ENOBUFS}}, nil
		}}
		f := newUDPFlow("10.0.0.2:1234", "192.168.1.5:53")
		done := serve(t.Context(), g, f)
		write(t, f.far, "too large")
		write(t, f.far, "too many")
		datagram(t, f.far, far, "x")
		datagram(t, far, f.far, "y")
		f.far.Close()
		<-done
		if s := g.Stats(); s != (GatewayStats{Dropped: 2, Up: 1, Down: 1}) {
			t.Errorf("stats are %+v", s)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		_, near := net.Pipe()
		g := &Gateway{Allow: lan, Dial: func(context.Context, string, string) (net.Conn, error) {
			return &failing{near, []error{syscall.EHOSTUNREACH}}, nil
		}}
		f := newUDPFlow("10.0.0.2:1234", "192.168.1.5:53")
		done := serve(t.Context(), g, f)
		write(t, f.far, "x")
		<-done
		if s := g.Stats(); s != (GatewayStats{Failed: 1}) || !errors.Is(f.refused, syscall.EHOSTUNREACH) {
			t.Errorf("stats are %+v, refused with %v; want what the target says", s, f.refused)
		}
	})
}

func TestDatagramsPanic(t *testing.T) {
	for _, down := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			_, near := net.Pipe()
			f := newUDPFlow("10.0.0.2:1234", "192.168.1.5:53")
			if !down {
				f.near = panicConn{f.near}
			}
			g := &Gateway{Allow: lan, Dial: func(context.Context, string, string) (net.Conn, error) {
				if down {
					return panicConn{near}, nil
				}
				return near, nil
			}}
			g.Serve(t.Context(), f)
			if s := g.Stats(); s != (GatewayStats{Panics: 1}) {
				t.Errorf("stats are %+v", s)
			}
		})
	}
}
