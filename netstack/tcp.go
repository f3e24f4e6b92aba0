package netstack

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Times of TCP connections.
const (
	// handshakeTimeout ends a dial whose context has no deadline, after SYNs
	// at 0, 1, 3, 7 and 15 seconds.
	handshakeTimeout = 31 * time.Second
	// A connection that was silent for keepAliveIdle is probed. It ends if
	// keepAliveCount probes, each keepAliveInterval after the last, are not
	// answered: six minutes in all.
	keepAliveIdle     = 2 * time.Minute
	keepAliveInterval = 30 * time.Second
	keepAliveCount    = 8
	// orphanTimeout is how long a closed connection tries to deliver what was
	// written.
	orphanTimeout = time.Minute
)

// TCPConn is a TCP connection in the tunnel. Beside what a [net.Conn] does, it
// can close one direction, wait for data without a buffer, and reset.
type TCPConn struct {
	socket
	net *Net

	reading sync.Mutex
	dst     tcpip.SliceWriter // guarded by reading; here so that no read allocates

	writing sync.Mutex
	src     bytes.Reader // guarded by writing

	receive, send tcpBuffer

	// failed is the error number that ended the connection, once someone has
	// seen it. The stack tells it only once.
	failed atomic.Uintptr
}

var _ net.Conn = (*TCPConn)(nil)

// dialTCP connects to dst.
func (n *Net) dialTCP(ctx context.Context, network string, dst netip.AddrPort) (*TCPConn, error) {
	c := &TCPConn{net: n}
	err := n.open(&c.socket, network, tcp.ProtocolNumber, protocolOf(dst.Addr()), func(ep tcpip.Endpoint) tcpip.Error {
		if err := keepAlive(ep); err != nil {
			return err
		}
		err := ep.Connect(fullAddr(dst))
		if _, ok := err.(*tcpip.ErrConnectStarted); ok {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	c.remote = netAddr(network, dst)
	if err := c.connected(ctx, n); err != nil {
		c.ep.Abort()
		return nil, err
	}
	c.begin()
	c.control()
	return c, nil
}

// connected waits for the end of the handshake.
func (c *TCPConn) connected(ctx context.Context, n *Net) error {
	var timeout chan struct{} // nil if the context takes care
	if end, ok := ctx.Deadline(); !ok || time.Until(end) > handshakeTimeout {
		timeout = make(chan struct{})
		defer n.stack.Clock().AfterFunc(handshakeTimeout, func() { close(timeout) }).Stop()
	}
	for {
		switch tcp.EndpointState(c.ep.State()) {
		case tcp.StateConnecting, tcp.StateSynSent, tcp.StateSynRecv:
		default:
			if err := c.ep.LastError(); err != nil {
				return n.unlessClosed(errno(err))
			}
			return nil
		}
		select {
		case <-c.wake.writable:
		case <-timeout:
			return syscall.ETIMEDOUT
		case <-ctx.Done():
			return ctx.Err()
		case <-n.done:
			return net.ErrClosed
		}
	}
}

// accepted makes a connection of an endpoint that a listener got.
func (n *Net) accepted(network string, ep tcpip.Endpoint, q *waiter.Queue, remote tcpip.FullAddress) *TCPConn {
	c := &TCPConn{net: n}
	c.init(n, network, ep, q)
	c.begin()
	c.control()
	_ = keepAlive(ep) // fails only on a connection that has failed
	if local, err := ep.GetLocalAddress(); err == nil {
		c.local = netAddr(network, addrPort(local))
	}
	c.remote = netAddr(network, addrPort(remote))
	return c
}

// begin counts a connection that is there.
func (c *TCPConn) begin() {
	now := c.net.stack.Clock().NowMonotonic()
	c.receive.init(c.ep, now)
	c.send.initSend(c.ep, c.net.nic.mtu)
	c.net.budget.opened()
}

// keepAlive makes the stack notice that the other end is gone.
func keepAlive(ep tcpip.Endpoint) tcpip.Error {
	idle, interval := tcpip.KeepaliveIdleOption(keepAliveIdle), tcpip.KeepaliveIntervalOption(keepAliveInterval)
	if err := ep.SetSockOpt(&idle); err != nil {
		return err
	}
	if err := ep.SetSockOpt(&interval); err != nil {
		return err
	}
	if err := ep.SetSockOptInt(tcpip.KeepaliveCountOption, keepAliveCount); err != nil {
		return err
	}
	ep.SocketOptions().SetKeepAlive(true)
	return nil
}

// Read reads what has arrived, and waits for something; see [net.Conn].
func (c *TCPConn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	n := 0
	err := c.do(c.wake.readable, &c.readDeadline, func() tcpip.Error {
		c.dst = b
		res, err := c.ep.Read(&c.dst, tcpip.ReadOptions{})
		c.dst = nil
		n = res.Count
		return err
	})
	if err != nil {
		return 0, c.fail("read", err)
	}
	c.receive.add(n, &c.net.budget)
	return n, nil
}

// WaitReadable waits until Read would not wait, because of data, the end of
// them or a failure. It is for a caller that takes a buffer only when it needs
// one. It fails like Read when the deadline passes or the connection is closed.
func (c *TCPConn) WaitReadable() error {
	c.reading.Lock()
	defer c.reading.Unlock()
	return c.waitReadable()
}

// Write writes all of b to the send buffer, waiting for room in it; see
// [net.Conn].
func (c *TCPConn) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	defer c.src.Reset(nil)
	n := 0
	for n < len(b) {
		err := c.do(c.wake.writable, &c.writeDeadline, func() tcpip.Error {
			c.src.Reset(b[n:])
			written, err := c.ep.Write(&c.src, tcpip.WriteOptions{})
			n += int(written)
			c.send.add(int(written), &c.net.budget)
			return err
		})
		if err != nil {
			return n, c.fail("write", err)
		}
	}
	return n, nil
}

// fail wraps an error of do. A connection that failed is reported as such in
// both directions: the stack tells only who asks first, and the other that it
// is closed, which for a reader looks like the end of the data.
func (c *TCPConn) fail(op string, err error) error {
	number, ok := err.(syscall.Errno)
	switch {
	case err == io.EOF || number == syscall.EPIPE:
		if tcp.EndpointState(c.ep.State()) != tcp.StateError {
			break // it is what it says
		}
		err = syscall.ECONNRESET
		if seen := c.failed.Load(); seen != 0 {
			err = syscall.Errno(seen)
		}
	case ok:
		c.failed.CompareAndSwap(0, uintptr(number))
	}
	return c.opError(op, err)
}

// CloseWrite ends the stream that is written. Reading goes on.
func (c *TCPConn) CloseWrite() error { return c.shutdown(tcpip.ShutdownWrite) }

// CloseRead lets reads return io.EOF. What arrives is not kept.
func (c *TCPConn) CloseRead() error { return c.shutdown(tcpip.ShutdownRead) }

func (c *TCPConn) shutdown(how tcpip.ShutdownFlags) error {
	if err := c.ep.Shutdown(how); err != nil {
		return c.opError("close", c.failure(err))
	}
	return nil
}

// SetLinger makes Close a reset if seconds is 0, so that the other end does
// not take a part for the whole. Any other value is the default: Close returns
// at once, and a minute is given to deliver what was written.
func (c *TCPConn) SetLinger(seconds int) error {
	c.ep.SocketOptions().SetLinger(tcpip.LingerOption{Enabled: seconds == 0})
	return nil
}

// Close closes both directions. What was written is still sent, for a minute,
// or as [Net.Close] says; what was not read makes it a reset. Calls that wait
// return net.ErrClosed.
func (c *TCPConn) Close() error {
	select {
	case <-c.tunnel:
		_ = c.SetLinger(0) // it was open at the end of the tunnel
	default:
	}
	orphan := tcpip.TCPUserTimeoutOption(orphanTimeout)
	_ = c.ep.SetSockOpt(&orphan) // is for a connection that is still there
	err := c.socket.Close()
	if err == nil { // for the first time
		c.net.budget.ended(&c.receive, &c.send)
	}
	return err
}
