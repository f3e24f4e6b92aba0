package forward

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// listen opens a listener on loopback.
func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// run serves f on a listener of its own until the test ends, and returns its address.
func run(t *testing.T, f *Forward) string {
	t.Helper()
	ln := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return ln.Addr().String()
}

func dialTCP(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// dialReset connects and expects a reset, which may be there before the system tells of the connection.
func dialReset(t *testing.T, address string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if errors.Is(err, syscall.ECONNRESET) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	expectReset(t, c)
}

// host dials as a host does.
func host(ctx context.Context, network, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, address)
}

// TestForwardF1 sends a different stream each way, through a listener and to a target.
func TestForwardF1(t *testing.T) {
	const seed1, seed2, size = 5, 6, 2<<20 + 17
	target := listen(t)
	f := &Forward{Dial: host, Target: target.Addr().String()}
	client := dialTCP(t, run(t, f))
	accepted, err := target.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	var all sync.WaitGroup
	for _, side := range []struct {
		conn       *net.TCPConn
		sends, get uint64
	}{{client, seed1, seed2}, {accepted.(*net.TCPConn), seed2, seed1}} {
		all.Go(func() {
			if _, err := io.Copy(side.conn, stream(side.sends, size)); err != nil {
				t.Errorf("seed %d: write: %v", side.sends, err)
			}
			if err := side.conn.CloseWrite(); err != nil {
				t.Errorf("seed %d: end the stream: %v", side.sends, err)
			}
		})
		all.Go(func() {
			if got, want := sum(side.conn), sum(stream(side.get, size)); !bytes.Equal(got, want) {
				t.Errorf("seed %d: received a stream with sha256 %x, want %x", side.get, got, want)
			}
		})
	}
	all.Wait()
	for f.Stats().Conns != 0 {
		time.Sleep(time.Millisecond)
	}
	if s := f.Stats(); s != (ForwardStats{Up: size, Down: size}) {
		t.Errorf("stats are %+v", s)
	}
}

// TestF4 has a target that is down, and clients that may not come.
func TestF4(t *testing.T) {
	t.Run("target down", func(t *testing.T) {
		down := listen(t)
		down.Close()
		f := &Forward{Dial: host, Target: down.Addr().String()}
		dialReset(t, run(t, f))
		if s := f.Stats(); s.Failed != 1 {
			t.Errorf("stats are %+v, want one failure", s)
		}
	})
	for _, c := range []struct {
		name    string
		allow   []netip.Prefix
		allowed bool
	}{
		{"any", nil, true},
		{"none", []netip.Prefix{}, false},
		{"ours", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8")}, true},
		{"others", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::/0")}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := listen(t)
			f := &Forward{Target: target.Addr().String(), AllowClients: c.allow, Dial: never(t)}
			if c.allowed {
				f.Dial = host
			}
			listener := run(t, f)
			if !c.allowed {
				dialReset(t, listener)
				if s := f.Stats(); s.Denied != 1 {
					t.Errorf("stats are %+v, want one denied", s)
				}
				return
			}
			client := dialTCP(t, listener)
			accepted, err := target.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer accepted.Close()
			write(t, client, "x")
			expect(t, accepted, "x")
		})
	}
}

// TestF5 has a target that is down and comes up.
func TestF5(t *testing.T) {
	first := listen(t)
	address := first.Addr().String()
	first.Close()
	up := make(chan net.Listener, 1)
	f := &Forward{Target: address, Dial: func(ctx context.Context, network, to string) (net.Conn, error) {
		select {
		case ln := <-up:
			up <- ln
			to = ln.Addr().String()
		default:
		}
		return host(ctx, network, to)
	}}
	listener := run(t, f)
	dialReset(t, listener)
	second := listen(t) // the port may be somebody else's by now
	up <- second
	client := dialTCP(t, listener)
	accepted, err := second.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	write(t, client, "x")
	expect(t, accepted, "x")
}

func TestForwardExcess(t *testing.T) {
	target := listen(t)
	f := &Forward{Dial: host, Target: target.Addr().String(), MaxConns: 1}
	listener := run(t, f)
	first := dialTCP(t, listener)
	accepted, err := target.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	dialReset(t, listener)
	write(t, first, "x")
	expect(t, accepted, "x")
	if s := f.Stats(); s.Excess != 1 || s.Conns != 1 {
		t.Errorf("stats are %+v, want one in excess and one connection", s)
	}
	first.Close()
	accepted.Close()
	for f.Stats().Conns != 0 {
		time.Sleep(time.Millisecond)
	}
	write(t, dialTCP(t, listener), "y")
	again, err := target.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	expect(t, again, "y")
}

// TestDialEndsWithItsClient resets a client whose target does not answer.
func TestDialEndsWithItsClient(t *testing.T) {
	dialing, ended := make(chan struct{}), make(chan error, 1)
	f := &Forward{Target: "target", Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if _, ok := ctx.Deadline(); !ok || network != "tcp" || address != "target" {
			t.Errorf("dial of %s %s, with a deadline: %v", network, address, ok)
		}
		close(dialing)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}}
	client := dialTCP(t, run(t, f))
	<-dialing
	write(t, client, "some early data")
	reset(client)
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the dial ended with %v, want it canceled", err)
	}
	for f.Stats().Abandoned != 1 {
		time.Sleep(time.Millisecond)
	}
	if s := f.Stats(); s.Failed != 0 {
		t.Errorf("stats are %+v; want no failure of the target", s)
	}
}

// forwardOver starts to serve one connection in memory, whose target waits to be released.
func forwardOver(ctx context.Context, f *Forward) (client *memConn, to *dial, done <-chan struct{}) {
	client, near := newMemPair()
	d := newDialer()
	f.Dial, f.Target = d.Dial, "target"
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer near.Close()
		f.serve(ctx, newWaitConn(near))
	}()
	return client, <-d.dials, ended
}

// TestEarlyDataArrives has clients that do not wait for the target: what they say is delivered once and in order, also if
// they have no more to say.
func TestEarlyDataArrives(t *testing.T) {
	for _, size := range []int{0, 1, smallSize - 1, smallSize, smallSize + 1, 3 * smallSize} {
		for _, ends := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				client, to, done := forwardOver(t.Context(), new(Forward))
				data, err := io.ReadAll(stream(7, int64(size)))
				if err != nil {
					t.Fatal(err)
				}
				go func() {
					_, _ = client.Write(data)
					if ends {
						client.CloseWrite()
					}
				}()
				time.Sleep(time.Second)
				to.release <- nil
				expect(t, to.far, string(data))
				write(t, to.far, "answer")
				expect(t, client, "answer")
				if ends {
					expectEOF(t, to.far)
				} else {
					write(t, client, "more")
					expect(t, to.far, "more")
				}
				client.Close()
				to.far.Close()
				<-done
			})
		}
	}
}

func TestForwardDialTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		client, _, done := forwardOver(t.Context(), new(Forward))
		<-done
		if took := time.Since(begin); took != 30*time.Second {
			t.Errorf("the dial ended after %v, want 30s", took)
		}
		expectEOF(t, client)
	})
}

func TestForwardPanics(t *testing.T) {
	target := listen(t)
	f := &Forward{Target: target.Addr().String(), Acceptor: new(Acceptor)}
	f.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if f.Acceptor.Stats().Panics == 0 {
			panic("kaboom")
		}
		return host(ctx, network, address)
	}
	listener := run(t, f)
	if c, err := net.Dial("tcp", listener); err == nil {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("the client reads data")
		}
		c.Close()
	}
	for f.Acceptor.Stats().Panics != 1 {
		time.Sleep(time.Millisecond)
	}
	client := dialTCP(t, listener)
	accepted, err := target.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	write(t, client, "x")
	expect(t, accepted, "x")
	if s := f.Acceptor.Stats(); s != (AcceptorStats{Accepted: 2, Panics: 1}) {
		t.Errorf("the acceptor's stats are %+v", s)
	}
	if s := f.Stats(); s.Conns != 1 {
		t.Errorf("stats are %+v, want one connection", s)
	}
}

// TestAheadPanics has a connection that panics while nobody else would see it.
func TestAheadPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, near := newMemPair()
		f := &Forward{Target: "target", Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		defer func() {
			if v := recover(); v == nil {
				t.Error("the panic was lost")
			}
		}()
		f.serve(t.Context(), panicConn{near})
	})
}
