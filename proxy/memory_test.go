package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// memConn is one end of an in-memory connection whose halves close one by one: a net.Pipe for each direction.
type memConn struct {
	net.Conn               // read from
	w             net.Conn // written to
	local, remote net.Addr
}

// newMemPair returns the near end of a connection from 192.0.2.1:4711 to 192.0.2.2:80, and the far one.
func newMemPair() (near, far *memConn) {
	r1, w1 := net.Pipe()
	r2, w2 := net.Pipe()
	from := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711}
	to := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 80}
	return &memConn{r1, w2, from, to}, &memConn{r2, w1, to, from}
}

// newClientPair returns a client's end of a connection from an address to 127.0.0.1:1080, and the server's end.
func newClientPair(source string) (client, server *memConn) {
	client, server = newMemPair()
	server.local = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1080}
	server.remote = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(source), 50000))
	return client, server
}

func (c *memConn) Write(b []byte) (int, error)        { return c.w.Write(b) }
func (c *memConn) CloseWrite() error                  { return c.w.Close() }
func (c *memConn) SetWriteDeadline(t time.Time) error { return c.w.SetWriteDeadline(t) }
func (c *memConn) LocalAddr() net.Addr                { return c.local }
func (c *memConn) RemoteAddr() net.Addr               { return c.remote }

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
	close  sync.Once
}

func newMemListener() *memListener {
	return &memListener{conns: make(chan net.Conn), closed: make(chan struct{})}
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
	l.close.Do(func() { close(l.closed) }) // the end of the context and Serve may both come to it
	return nil
}

func (l *memListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1080} }

// connect returns the client's end of a new connection, from 127.0.0.1.
func (l *memListener) connect() *memConn { return l.connectFrom("127.0.0.1") }

// connectFrom returns the client's end of a new connection from an address.
func (l *memListener) connectFrom(source string) *memConn {
	client, server := newClientPair(source)
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
		t.Fatalf("read %q, error %v; want %q", got[:n], err, s)
	}
}

// expectEnd reads the end of the stream from c, within limit.
func expectEnd(t *testing.T, c net.Conn, limit time.Duration) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(limit))
	if got, err := io.ReadAll(c); len(got) > 0 || err != nil {
		t.Fatalf("read %q, error %v; want the end of the stream within %v", got, err, limit)
	}
}
