package forward

import (
	"errors"
	"net"
	"syscall"
)

// errFailed stands for a reset that was seen without reading.
var errFailed = errors.New("forward: read: connection failed while its data was held up")

// Early returns c with data put before what is still to be read from it: what a parser read ahead, delivered once and
// in order. It keeps data until it was read.
func Early(c net.Conn, data []byte) net.Conn {
	if len(data) == 0 {
		return c
	}
	return &early{Conn: c, data: data}
}

// early belongs to one reader at a time, as the buffered readers that its data comes from.
type early struct {
	net.Conn
	data []byte
}

func (e *early) Read(b []byte) (int, error) {
	if len(e.data) == 0 {
		return e.Conn.Read(b)
	}
	n := copy(b, e.data)
	e.data = e.data[n:]
	if len(e.data) == 0 {
		e.data = nil // lets go of the buffer
	}
	return n, nil
}

// NetConn returns the connection itself.
func (e *early) NetConn() net.Conn { return e.Conn }

// CloseWrite ends the stream that is written to c, while reading goes on: by c's own CloseWrite, or by that of the
// connection which c wraps, if c has a method NetConn as *tls.Conn does. Without either it returns errors.ErrUnsupported.
func CloseWrite(c net.Conn) error {
	if w, ok := unwrap[interface{ CloseWrite() error }](c); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// ResetOnClose makes Close of c, or of the connection that c wraps, a reset where it has SetLinger, so that the peer does not
// take a part for the whole. See [CloseWrite] for what wrapping means.
func ResetOnClose(c net.Conn) {
	if l, ok := unwrap[interface{ SetLinger(seconds int) error }](c); ok {
		_ = l.SetLinger(0) // fails only on a connection that is gone
	}
}

// unwrap returns the outermost of c and the connections inside that is a T.
func unwrap[T any](c net.Conn) (T, bool) {
	for {
		if t, ok := c.(T); ok {
			return t, true
		}
		w, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			var none T
			return none, false
		}
		c = w.NetConn()
	}
}

// waiter returns a function that blocks until a read of c would not, or nil if c can't tell. Sockets are asked by their
// type: what embeds one may hold data of its own, of which the socket knows nothing.
func waiter(c net.Conn) func() error {
	switch c := c.(type) {
	case interface{ WaitReadable() error }:
		return c.WaitReadable
	case *net.TCPConn:
		return socketWaiter(c)
	case *net.UnixConn:
		return socketWaiter(c)
	case *net.UDPConn:
		return socketWaiter(c)
	}
	return nil
}

func socketWaiter(c syscall.Conn) func() error {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	return func() error { return waitReadable(raw) }
}

// failed reports whether c was reset or timed out, as far as that can be seen without reading from it.
func failed(c net.Conn) bool {
	s, ok := unwrap[syscall.Conn](c)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	return err == nil && hasError(raw)
}
