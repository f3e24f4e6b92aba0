package forward

import (
	"bufio"
	"errors"
	"io"
	"net"
	"testing"
	"testing/iotest"
	"time"
)

// memConn is one end of an in-memory connection whose halves close one by one: a net.Pipe for each direction.
type memConn struct {
	net.Conn          // read from
	w        net.Conn // written to
}

func newMemPair() (a, b *memConn) {
	r1, w1 := net.Pipe()
	r2, w2 := net.Pipe()
	return &memConn{r1, w2}, &memConn{r2, w1}
}

func (c *memConn) Write(b []byte) (int, error)        { return c.w.Write(b) }
func (c *memConn) CloseWrite() error                  { return c.w.Close() }
func (c *memConn) CloseRead() error                   { return c.Conn.Close() }
func (c *memConn) SetWriteDeadline(t time.Time) error { return c.w.SetWriteDeadline(t) }

func (c *memConn) SetDeadline(t time.Time) error {
	return errors.Join(c.Conn.SetReadDeadline(t), c.w.SetWriteDeadline(t))
}

func (c *memConn) Close() error {
	return errors.Join(c.Conn.Close(), c.w.Close())
}

// waitConn is a memConn that says when it is readable, as a connection of a userspace stack can.
type waitConn struct {
	*memConn
	r *bufio.Reader
}

func newWaitConn(c *memConn) *waitConn { return &waitConn{c, bufio.NewReaderSize(c, largeSize)} }

func (c *waitConn) Read(b []byte) (int, error) { return c.r.Read(b) }

func (c *waitConn) WaitReadable() error {
	_, err := c.r.Peek(1)
	if err == io.EOF {
		return nil // as poll does: a read would not block
	}
	return err
}

// wrapped hides all methods but those of net.Conn, as the wrappers of limiters and metrics do, and says what it wraps.
type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }

// opaque hides all methods but those of net.Conn.
type opaque struct{ net.Conn }

// newTCPPair returns both ends of a connection over loopback.
func newTCPPair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialed, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialed.Close(); accepted.Close() })
	return dialed.(*net.TCPConn), accepted.(*net.TCPConn)
}

func TestCloseWrite(t *testing.T) {
	for _, tt := range []struct {
		name string
		wrap func(net.Conn) net.Conn
		want error
	}{
		{"own", func(c net.Conn) net.Conn { return c }, nil},
		{"wrapped", func(c net.Conn) net.Conn { return wrapped{wrapped{c}} }, nil},
		{"early", func(c net.Conn) net.Conn { return Early(c, []byte("x")) }, nil},
		{"wraps nothing", func(net.Conn) net.Conn { return wrapped{} }, errors.ErrUnsupported},
		{"opaque", func(c net.Conn) net.Conn { return opaque{c} }, errors.ErrUnsupported},
	} {
		t.Run(tt.name, func(t *testing.T) {
			near, far := newTCPPair(t)
			if err := CloseWrite(tt.wrap(near)); !errors.Is(err, tt.want) {
				t.Fatalf("CloseWrite = %v, want %v", err, tt.want)
			}
			if tt.want != nil {
				return
			}
			if n, err := far.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("the peer read %d bytes, error %v; want the end of the stream", n, err)
			}
		})
	}
}

func TestEarlyIsReadFirst(t *testing.T) {
	near, far := newMemPair()
	go func() {
		_, _ = far.Write([]byte("later"))
		far.Close()
	}()
	c := Early(near, []byte("early "))
	// One byte at a time: the early data has to come in pieces too.
	got, err := io.ReadAll(iotest.OneByteReader(c))
	if string(got) != "early later" || err != nil {
		t.Errorf("read %q, error %v; want the early data, then the rest", got, err)
	}
	if c := Early(near, nil); c != net.Conn(near) {
		t.Errorf("Early without data wraps the connection in a %T", c)
	}
}
