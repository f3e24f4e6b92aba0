package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// guard is far beyond what these tests take; it turns a hang into a failure.
const guard = 30 * time.Second

// wrapped hides all methods but those of net.Conn and says what it wraps, as the wrappers of limiters and metrics do.
type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }

// wrappingListener wraps what it accepts.
type wrappingListener struct{ net.Listener }

func (l wrappingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return wrapped{c}, nil
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// serveSockets serves on loopback, with wrapped connections, until the test ends or end is called. It returns a client.
func serveSockets(t *testing.T, dial Dial) (conn *net.TCPConn, end func()) {
	t.Helper()
	s, err := New(Config{Dial: dial, GraceTimeout: -1})
	if err != nil {
		t.Fatal(err)
	}
	ln := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, wrappingListener{ln}) }()
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(end)
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	_ = client.SetDeadline(time.Now().Add(guard))
	return client.(*net.TCPConn), end
}

// connectSockets returns a client and the target that it is connected to; end is serveSockets'.
func connectSockets(t *testing.T) (client, target *net.TCPConn, end func()) {
	t.Helper()
	targets := listen(t)
	client, end = serveSockets(t, func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, network, targets.Addr().String())
		return wrapped{c}, err
	})
	send(client, hello+toV4)
	accepted, err := targets.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accepted.Close() })
	_ = accepted.SetDeadline(time.Now().Add(guard))

	expect(t, client, welcome+"\x05\x00\x00\x01\x7f\x00\x00\x01")
	reply := make([]byte, 2)
	_, _ = io.ReadFull(client, reply)
	if got, want := int(reply[0])<<8|int(reply[1]), accepted.RemoteAddr().(*net.TCPAddr).Port; got != want {
		t.Errorf("BND.PORT is %d, the target sees %d", got, want)
	}
	return client, accepted.(*net.TCPConn), end
}

func TestS16(t *testing.T) {
	for _, reverse := range []bool{false, true} {
		client, target, _ := connectSockets(t)
		first, second := client, target
		if reverse {
			first, second = target, client
		}
		send(first, "last words")
		expect(t, second, "last words")
		_ = first.CloseWrite()
		expectEnd(t, second, guard)
		send(second, "answer")
		expect(t, first, "answer")
		_ = second.CloseWrite()
		expectEnd(t, first, guard)
	}
}

func TestS17(t *testing.T) {
	for _, reverse := range []bool{false, true} {
		client, target, _ := connectSockets(t)
		first, second := client, target
		if reverse {
			first, second = target, client
		}
		_ = first.SetLinger(0)
		_ = first.Close()
		begin := time.Now()
		if _, err := io.Copy(io.Discard, second); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the other side reads %v, want a reset", err)
		}
		t.Logf("seen after %v", time.Since(begin))
	}
}

// TestEndOfServeIsAReset cuts a connection off in the middle: its two streams must not look as if they had ended.
func TestEndOfServeIsAReset(t *testing.T) {
	client, target, end := connectSockets(t)
	send(client, "a part")
	expect(t, target, "a part")
	end()
	for _, c := range []*net.TCPConn{client, target} {
		if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read %v, want a reset", err)
		}
	}
}

// TestResetDuringDial is S30 with a client that leaves by a reset.
func TestResetDuringDial(t *testing.T) {
	dialing, cancelled := make(chan struct{}), make(chan struct{})
	client, _ := serveSockets(t, func(ctx context.Context, _, _ string) (net.Conn, error) {
		close(dialing)
		<-ctx.Done()
		close(cancelled)
		return nil, ctx.Err()
	})
	send(client, hello+toV4)
	expect(t, client, welcome)
	<-dialing
	_ = client.SetLinger(0)
	_ = client.Close()
	begin := time.Now()
	<-cancelled
	t.Logf("cancelled after %v", time.Since(begin))
}

// TestRealRefusal has a true ECONNREFUSED, and early data that nobody wants: the reply must not be lost to a reset.
func TestRealRefusal(t *testing.T) {
	closed := listen(t)
	closed.Close()
	client, _ := serveSockets(t, func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, closed.Addr().String())
	})
	if _, err := client.Write(append([]byte(hello+toV4), noise(7, 1<<20)...)); err != nil {
		t.Fatalf("write: %v", err)
	}
	_ = client.CloseWrite()
	expect(t, client, welcome+failure(5))
	expectEnd(t, client, guard)
}
