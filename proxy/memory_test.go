package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// memConn is one end of an in-memory connection whose halves close one by one: a net.Pipe for each direction.
type memConn struct {
	net.Conn          // read from
	w        net.Conn // written to
	local    net.Addr
}

func newMemPair() (a, b *memConn) {
	r1, w1 := net.Pipe()
	r2, w2 := net.Pipe()
	addr := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711}
	return &memConn{r1, w2, addr}, &memConn{r2, w1, addr}
}

func (c *memConn) Write(b []byte) (int, error)        { return c.w.Write(b) }
func (c *memConn) CloseWrite() error                  { return c.w.Close() }
func (c *memConn) SetWriteDeadline(t time.Time) error { return c.w.SetWriteDeadline(t) }
func (c *memConn) LocalAddr() net.Addr                { return c.local }
func (c *memConn) RemoteAddr() net.Addr               { return c.local }

func (c *memConn) SetDeadline(t time.Time) error {
	return errors.Join(c.Conn.SetReadDeadline(t), c.w.SetWriteDeadline(t))
}

func (c *memConn) Close() error {
	return errors.Join(c.Conn.Close(), c.w.Close())
}

// memListener is a listener whose connections are in memory.
type memListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newMemListener() *memListener {
	return &memListener{make(chan net.Conn), make(chan struct{})}
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *memListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1080} }

// connect returns the client's end of a new connection.
func (l *memListener) connect() *memConn {
	client, server := newMemPair()
	l.conns <- server
	return client
}

// served is a Server that serves a memListener.
type served struct {
	*Server
	*memListener
	cancel context.CancelFunc
	done   chan error // what Serve returned
}

// serve starts a Server. The caller calls end.
func serve(t *testing.T, cfg Config) *served {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	v := &served{s, newMemListener(), cancel, make(chan error, 1)}
	go func() { v.done <- s.Serve(ctx, v.memListener) }()
	return v
}

// end ends Serve and waits for it. It fails if anything but the end of the context made Serve return.
func (v *served) end(t *testing.T) {
	t.Helper()
	v.cancel()
	if err := <-v.done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// echo is a Dial to a target that sends back what it gets.
func echo(context.Context, string, string) (net.Conn, error) {
	near, far := newMemPair()
	go func() {
		defer far.Close()
		_, _ = io.Copy(far, struct{ io.Reader }{far})
	}()
	return near, nil
}

// hang is a Dial into a black hole.
func hang(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// send writes s to c in a goroutine of its own: nobody may be reading yet, nor ever.
func send(c io.Writer, s string) {
	go func() { _, _ = io.WriteString(c, s) }()
}

// expect reads s from c.
func expect(t *testing.T, c io.Reader, s string) {
	t.Helper()
	got := make([]byte, len(s))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != s {
		t.Fatalf("read % x, error %v; want % x", got[:n], err, s)
	}
}

// expectEnd reads the end of the stream from c, within limit.
func expectEnd(t *testing.T, c net.Conn, limit time.Duration) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(limit))
	if got, err := io.ReadAll(c); len(got) > 0 || err != nil {
		t.Fatalf("read % x, error %v; want the end of the stream within %v", got, err, limit)
	}
}
