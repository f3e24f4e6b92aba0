package forward

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// lan is a rule for the targets of these tests.
var lan = []Rule{rule("192.168.0.0/16")}

// testFlow is a flow as netstack has them: in memory, and what became of it.
type testFlow struct {
	network             string
	source, destination netip.AddrPort
	near, far           net.Conn // of the connection that Accept returns
	acceptErr           error

	accepted bool
	refused  error // the first
	refusals int
}

// newFlow makes a flow of TCP.
func newFlow(source, destination string) *testFlow {
	far, near := newMemPair()
	return &testFlow{
		network: "tcp", source: netip.MustParseAddrPort(source), destination: netip.MustParseAddrPort(destination),
		near: near, far: far,
	}
}

func (f *testFlow) Network() string             { return f.network }
func (f *testFlow) Source() netip.AddrPort      { return f.source }
func (f *testFlow) Destination() netip.AddrPort { return f.destination }

func (f *testFlow) Accept() (net.Conn, error) {
	if f.acceptErr != nil {
		return nil, f.acceptErr
	}
	f.accepted = true
	return f.near, nil
}

func (f *testFlow) Refuse(err error) {
	if f.refusals == 0 {
		f.refused = err
	}
	f.refusals++
}

// serve runs Serve in a goroutine of its own. The channel is closed when it has returned.
func serve(ctx context.Context, g *Gateway, f Flow) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.Serve(ctx, f)
	}()
	return done
}

// dialer is a host's network of which every dial is known. It holds a target back until release says how it ended.
type dialer struct{ dials chan *dial }

type dial struct {
	network, address string
	far              *memConn // of the target
	release          chan error
}

func (d *dialer) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	far, near := newMemPair()
	this := &dial{network: network, address: address, far: far, release: make(chan error, 1)}
	d.dials <- this
	select {
	case err := <-this.release:
		if err != nil {
			return nil, err
		}
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func newDialer() *dialer { return &dialer{dials: make(chan *dial, 10)} }

// never fails the test when anything is dialed.
func never(t *testing.T) func(context.Context, string, string) (net.Conn, error) {
	return func(_ context.Context, network, address string) (net.Conn, error) {
		t.Errorf("%s %s was dialed", network, address)
		return nil, errors.New("no")
	}
}

func TestGatewayCarries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDialer()
		g := &Gateway{Allow: lan, Dial: d.Dial}
		f := newFlow("10.0.0.2:1234", "192.168.1.5:80")
		done := serve(t.Context(), g, f)
		to := <-d.dials
		if to.network != "tcp" || to.address != "192.168.1.5:80" {
			t.Errorf("dialed %s %s", to.network, to.address)
		}
		synctest.Wait()
		if f.accepted || f.refusals > 0 {
			t.Error("the peer was answered before the target was there")
		}
		to.release <- nil
		write(t, f.far, "ping")
		expect(t, to.far, "ping")
		write(t, to.far, "pong!")
		expect(t, f.far, "pong!")
		if s := g.Stats(); s.Conns != 1 {
			t.Errorf("%d connections, want 1", s.Conns)
		}
		f.far.Close()
		to.far.Close()
		<-done
		if s := g.Stats(); s != (GatewayStats{Up: 4, Down: 5}) {
			t.Errorf("stats are %+v", s)
		}
	})
}

// TestN10 is the host's half of it: the peer hears of a target that refuses, can't be reached or does not answer what the
// host hears.
func TestN10(t *testing.T) {
	for _, want := range []error{syscall.ECONNREFUSED, syscall.EHOSTUNREACH, errors.New("no reason"), context.DeadlineExceeded} {
		t.Run(want.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDialer()
				g := &Gateway{Allow: lan, Dial: d.Dial}
				f := newFlow("10.0.0.2:1234", "192.168.1.5:80")
				begin := time.Now()
				done := serve(t.Context(), g, f)
				to := <-d.dials
				if want != context.DeadlineExceeded {
					to.release <- want
				}
				<-done
				if f.accepted || !errors.Is(f.refused, want) || f.refusals != 1 {
					t.Errorf("accepted: %v, refused with %v; want %v", f.accepted, f.refused, want)
				}
				if took := time.Since(begin); want == context.DeadlineExceeded && took != 30*time.Second {
					t.Errorf("the dial ended after %v, want 30s", took)
				}
				if s := g.Stats(); s != (GatewayStats{Failed: 1}) {
					t.Errorf("stats are %+v", s)
				}
			})
		})
	}
}

func TestGatewayDenies(t *testing.T) {
	for _, network := range []string{"tcp", "udp"} {
		for _, target := range []string{"8.8.8.8:53", "127.0.0.1:80", "[::1]:80", "169.254.169.254:80", "[::ffff:192.168.1.5]:80", "192.168.1.5:0"} {
			g := &Gateway{Allow: lan, Dial: never(t)}
			f := newFlow("10.0.0.2:1234", target)
			f.network = network
			g.Serve(t.Context(), f)
			if f.accepted || !errors.Is(f.refused, fs.ErrPermission) {
				t.Errorf("%s %s: accepted: %v, refused with %v; want a permission error", network, target, f.accepted, f.refused)
			}
			if s := g.Stats(); s != (GatewayStats{Denied: 1}) {
				t.Errorf("stats are %+v", s)
			}
		}
	}
	f := newFlow("10.0.0.2:1234", "192.168.1.5:80")
	new(Gateway).Serve(t.Context(), f)
	if !errors.Is(f.refused, fs.ErrPermission) {
		t.Errorf("the zero value refuses with %v, want a permission error", f.refused)
	}
}

func TestGatewayLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := newDialer()
		g := &Gateway{Allow: lan, Dial: d.Dial, MaxConns: 4, MaxConnsPerSource: 3}
		var all sync.WaitGroup
		refused := 0
		for i, source := range []string{
			"10.0.0.2:1", "10.0.0.2:2", "10.0.0.2:3",
			"10.0.0.2:4", // too many of this one
			"10.0.0.3:1",
			"10.0.0.3:2", // too many in all
		} {
			f := newFlow(source, "192.168.1.5:80")
			all.Go(func() { g.Serve(ctx, f) })
			synctest.Wait()
			if f.refusals > 0 {
				refused++
				if i != 3 && i != 5 {
					t.Errorf("%s was refused with %v", source, f.refused)
				}
			}
		}
		if s := g.Stats(); refused != 2 || s.Excess != 2 || s.Conns != 4 {
			t.Errorf("%d refused, stats are %+v; want 2, 2 in excess and 4 connections", refused, s)
		}
		cancel()
		all.Wait()
		if s := g.Stats(); s.Conns != 0 {
			t.Errorf("%d connections are left", s.Conns)
		}
	})
}

func TestGatewayAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDialer()
		g := &Gateway{Allow: lan, Dial: d.Dial}
		f := newFlow("10.0.0.2:1234", "192.168.1.5:80")
		f.acceptErr = syscall.ETIMEDOUT
		done := serve(t.Context(), g, f)
		to := <-d.dials
		to.release <- nil
		<-done
		expectEOF(t, to.far)
		if s := g.Stats(); s != (GatewayStats{Abandoned: 1}) {
			t.Errorf("stats are %+v", s)
		}
	})
}

// TestGatewayEnds has the tunnel end in each state of a flow.
func TestGatewayEnds(t *testing.T) {
	for _, dialed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			d := newDialer()
			g := &Gateway{Allow: lan, Dial: d.Dial}
			f := newFlow("10.0.0.2:1234", "192.168.1.5:80")
			done := serve(ctx, g, f)
			to := <-d.dials
			if dialed {
				to.release <- nil
			}
			synctest.Wait()
			cancel()
			<-done
			if f.accepted != dialed {
				t.Errorf("accepted: %v, want %v", f.accepted, dialed)
			}
		})
	}
}

func TestGatewaySurvives(t *testing.T) {
	var log strings.Builder
	g := &Gateway{
		Allow: lan, Logger: textLogger(&log),
		Dial: func(context.Context, string, string) (net.Conn, error) { panic("kaboom") },
	}
	g.Serve(t.Context(), newFlow("10.0.0.2:1234", "192.168.1.5:80"))
	if s := g.Stats(); s != (GatewayStats{Panics: 1}) {
		t.Errorf("stats are %+v", s)
	}
	if !strings.Contains(log.String(), "kaboom") {
		t.Errorf("the log has nothing of the panic: %s", &log)
	}
}

// TestN8 is the gateway's half of ICMP echo.
func TestN8(t *testing.T) {
	target, source := netip.MustParseAddr("192.168.1.5"), netip.MustParseAddr("10.0.0.2")
	for _, c := range []struct {
		name   string
		target string
		ping   error
		want   error
		stats  GatewayStats
	}{
		{"answered", "192.168.1.5", nil, nil, GatewayStats{Echoes: 1}},
		{"not answered", "192.168.1.5", context.DeadlineExceeded, context.DeadlineExceeded, GatewayStats{EchoFailed: 1}},
		{"unreachable", "192.168.1.5", syscall.EHOSTUNREACH, syscall.EHOSTUNREACH, GatewayStats{EchoFailed: 1}},
		{"not allowed by the system", "192.168.1.5", syscall.EPERM, syscall.EPERM, GatewayStats{EchoRefused: 1}},
		{"not allowed by a rule", "8.8.8.8", nil, syscall.EACCES, GatewayStats{Denied: 1}},
		{"this host", "127.0.0.1", nil, syscall.EACCES, GatewayStats{Denied: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var pings atomic.Int32
			g := &Gateway{Allow: lan, Ping: func(ctx context.Context, a netip.Addr, data []byte) error {
				pings.Add(1)
				if _, ok := ctx.Deadline(); !ok || a != target || string(data) != "data" {
					t.Errorf("ping of %v with %q, with a deadline: %v", a, data, ok)
				}
				return c.ping
			}}
			if err := g.Echo(t.Context(), source, netip.MustParseAddr(c.target), []byte("data")); !errors.Is(err, c.want) {
				t.Errorf("Echo: %v, want %v", err, c.want)
			}
			if s := g.Stats(); s != c.stats {
				t.Errorf("stats are %+v, want %+v", s, c.stats)
			}
			if n := pings.Load(); (c.stats.Denied == 0) != (n == 1) {
				t.Errorf("%d pings", n)
			}
		})
	}
	g := &Gateway{Allow: lan}
	if err := g.Echo(t.Context(), source, target, nil); !errors.Is(err, fs.ErrPermission) || g.Stats().EchoRefused != 1 {
		t.Errorf("without Ping: %v, stats are %+v; want a permission error that is counted", err, g.Stats())
	}
}

// textLogger writes all to w.
func textLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
