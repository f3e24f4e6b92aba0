package netstack

import (
	"io"
	"net"
	"os"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"
)

// socket is what connections and listeners have in common: an endpoint of the
// stack, which never blocks, and the waiting for it.
type socket struct {
	ep      tcpip.Endpoint
	network string // as in net.OpError
	local   net.Addr
	remote  net.Addr // nil if there is none

	// entry is the only one in the endpoint's queue of waiters, for the life
	// of the socket.
	entry waiter.Entry
	wake  wakeup

	readDeadline, writeDeadline deadline

	closing sync.Once
	closed  chan struct{}   // closed by Close
	tunnel  <-chan struct{} // closed by that of the Net
}

// wakeup turns the stack's events into tokens: one is there if something
// happened since it was last taken.
type wakeup struct {
	readable, writable chan struct{}
}

// NotifyEvent is called by the stack, with locks held.
func (w *wakeup) NotifyEvent(mask waiter.EventMask) {
	const failure = waiter.EventErr | waiter.EventHUp
	if mask&(waiter.ReadableEvents|failure) != 0 {
		token(w.readable)
	}
	if mask&(waiter.WritableEvents|failure) != 0 {
		token(w.writable)
	}
}

func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// init makes s the socket of an endpoint that notifies q.
func (s *socket) init(n *Net, network string, ep tcpip.Endpoint, q *waiter.Queue) {
	s.network, s.ep = network, ep
	s.closed, s.tunnel = make(chan struct{}), n.done
	s.wake = wakeup{make(chan struct{}, 1), make(chan struct{}, 1)}
	s.entry.Init(&s.wake, waiter.ReadableEvents|waiter.WritableEvents|waiter.EventErr|waiter.EventHUp)
	q.EventRegister(&s.entry)
}

// open makes s the socket of a new endpoint, which prepare binds or connects.
func (n *Net) open(
	s *socket, network string, transport tcpip.TransportProtocolNumber, family tcpip.NetworkProtocolNumber,
	prepare func(tcpip.Endpoint) tcpip.Error,
) error {
	if err := n.enter(); err != nil {
		return err
	}
	defer n.leave()
	q := new(waiter.Queue)
	ep, err := n.stack.NewEndpoint(transport, family, q)
	if err != nil {
		return errno(err)
	}
	s.init(n, network, ep, q)
	if err := prepare(ep); err != nil {
		ep.Close()
		return errno(err)
	}
	if a, err := ep.GetLocalAddress(); err == nil {
		s.local = netAddr(network, addrPort(a))
	}
	return nil
}

// do calls f until it no longer would block, and waits for an event in
// between. The error is io.EOF, a syscall.Errno, os.ErrDeadlineExceeded or
// net.ErrClosed.
func (s *socket) do(event <-chan struct{}, d *deadline, f func() tcpip.Error) error {
	for {
		if s.over() {
			return net.ErrClosed
		}
		if d.expired() {
			return os.ErrDeadlineExceeded
		}
		err := f()
		switch err.(type) {
		case nil:
			return nil
		case *tcpip.ErrWouldBlock:
		default:
			return s.failure(err)
		}
		select {
		case <-event:
		case <-d.done():
		case <-s.closed:
		case <-s.tunnel:
		}
	}
}

// waitReadable waits until a read would not wait.
func (s *socket) waitReadable() error {
	err := s.do(s.wake.readable, &s.readDeadline, func() tcpip.Error {
		const ready = waiter.ReadableEvents | waiter.EventErr | waiter.EventHUp
		if s.ep.Readiness(ready)&ready == 0 {
			return &tcpip.ErrWouldBlock{}
		}
		return nil
	})
	return s.opError("read", err)
}

// over reports whether the socket or the tunnel was closed.
func (s *socket) over() bool {
	select {
	case <-s.closed:
	case <-s.tunnel:
	default:
		return false
	}
	return true
}

// failure is the error for what the stack says. After Close that is anything.
func (s *socket) failure(err tcpip.Error) error {
	if s.over() {
		return net.ErrClosed
	}
	if _, ok := err.(*tcpip.ErrClosedForReceive); ok {
		return io.EOF
	}
	return errno(err)
}

// opError wraps an error of do.
func (s *socket) opError(op string, err error) error {
	return opError(op, s.network, s.local, s.remote, err)
}

// Close closes the connection. What waits for it returns net.ErrClosed.
func (s *socket) Close() error {
	err := s.opError("close", net.ErrClosed)
	s.closing.Do(func() {
		close(s.closed)
		s.ep.Close()
		err = nil
	})
	return err
}

// LocalAddr is the address at this end.
func (s *socket) LocalAddr() net.Addr { return s.local }

// RemoteAddr is the address at the other end, nil if the connection has none.
func (s *socket) RemoteAddr() net.Addr { return s.remote }

// SetDeadline sets both deadlines; see [net.Conn].
func (s *socket) SetDeadline(t time.Time) error {
	s.readDeadline.set(t)
	s.writeDeadline.set(t)
	return nil
}

// SetReadDeadline sets the deadline of calls that read; see [net.Conn].
func (s *socket) SetReadDeadline(t time.Time) error {
	s.readDeadline.set(t)
	return nil
}

// SetWriteDeadline sets the deadline of calls that write; see [net.Conn].
func (s *socket) SetWriteDeadline(t time.Time) error {
	s.writeDeadline.set(t)
	return nil
}
