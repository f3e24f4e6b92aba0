package proxy

import (
	"bufio"
	"net"
	"time"

	"github.com/wimble-proxy/wimble/forward"
)

// origin is a connection to the server that a request is for. One goroutine reads from it, and one writes to it.
type origin struct {
	net.Conn
	leash   *leash        // what the reader reads through
	reader  *bufio.Reader // the only way to read
	timeout time.Duration // for each write, and for each read in which nothing is written either
}

func newOrigin(conn net.Conn, timeout time.Duration) *origin {
	l := &leash{conn: conn}
	l.limit(timeout)
	return &origin{Conn: conn, leash: l, reader: bufio.NewReader(l), timeout: timeout}
}

// Write writes b. An origin is not silent while it takes what is written.
func (o *origin) Write(b []byte) (int, error) {
	n, err := timedWriter{o.Conn, o.timeout}.Write(b)
	o.leash.extend()
	return n, err
}

// Close closes the connection and wakes whoever reads or writes: a connection need not do that by itself.
func (o *origin) Close() error {
	o.leash.stop()
	_ = o.SetWriteDeadline(time.Unix(1, 0))
	return o.Conn.Close()
}

// release returns the connection without limits, and what was read ahead from it still to be read. The origin must not be
// used any more.
func (o *origin) release() net.Conn {
	_ = o.SetDeadline(time.Time{})
	ahead, _ := o.reader.Peek(o.reader.Buffered()) // can't fail: it is there
	return forward.Early(o.Conn, ahead)
}

// timedWriter writes to a connection with a limit for each write.
type timedWriter struct {
	conn  net.Conn
	limit time.Duration
}

func (w timedWriter) Write(b []byte) (int, error) {
	_ = w.conn.SetWriteDeadline(time.Now().Add(w.limit))
	return w.conn.Write(b)
}
