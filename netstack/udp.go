package netstack

import (
	"bytes"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// UDPConn is a UDP socket in the tunnel, connected by DialContext or not by
// ListenPacket.
type UDPConn struct {
	socket
	// v4 and v6 are the families that it can send to.
	v4, v6 bool

	reading sync.Mutex
	dst     tcpip.SliceWriter // guarded by reading

	writing sync.Mutex
	src     bytes.Reader // guarded by writing
}

var (
	_ net.Conn       = (*UDPConn)(nil)
	_ net.PacketConn = (*UDPConn)(nil)
)

// dialUDP makes a socket that is connected to dst.
func (n *Net) dialUDP(network string, dst netip.AddrPort) (*UDPConn, error) {
	c := &UDPConn{}
	err := n.open(&c.socket, network, udp.ProtocolNumber, protocolOf(dst.Addr()), func(ep tcpip.Endpoint) tcpip.Error {
		return ep.Connect(fullAddr(dst))
	})
	if err != nil {
		return nil, err
	}
	c.remote = netAddr(network, dst)
	return c, nil
}

// Read reads the next datagram; what does not fit b is lost.
func (c *UDPConn) Read(b []byte) (int, error) {
	n, _, err := c.ReadFromUDPAddrPort(b)
	return n, err
}

// ReadFrom reads the next datagram; what does not fit b is lost. The address is
// a *net.UDPAddr.
func (c *UDPConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadFromUDPAddrPort is ReadFrom with an address that costs nothing.
func (c *UDPConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	var res tcpip.ReadResult
	err := c.do(c.wake.readable, &c.readDeadline, func() (err tcpip.Error) {
		c.dst = b
		res, err = c.ep.Read(&c.dst, tcpip.ReadOptions{NeedRemoteAddr: true})
		c.dst = nil
		if _, full := err.(*tcpip.ErrBadBuffer); full {
			err = nil // b has no room at all: the datagram is lost as any other
		}
		return err
	})
	return res.Count, addrPort(res.RemoteAddr), c.opError("read", err)
}

// WaitReadable waits until a read would not wait, because of a datagram or an
// error. It fails like Read when the deadline passes or the socket is closed.
func (c *UDPConn) WaitReadable() error {
	c.reading.Lock()
	defer c.reading.Unlock()
	return c.waitReadable()
}

// Write sends a datagram to the address that the socket is connected to.
func (c *UDPConn) Write(b []byte) (int, error) {
	return c.send(b, nil, c.remote)
}

// WriteTo sends a datagram to a *net.UDPAddr.
func (c *UDPConn) WriteTo(b []byte, to net.Addr) (int, error) {
	a, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, opError("write", c.network, c.local, to, syscall.EINVAL)
	}
	return c.WriteToUDPAddrPort(b, a.AddrPort())
}

// WriteToUDPAddrPort sends a datagram to an address.
func (c *UDPConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	addr := netAddr(c.network, to)
	switch {
	case c.remote != nil:
		return 0, opError("write", c.network, c.local, addr, net.ErrWriteToConnected)
	case !to.IsValid():
		return 0, opError("write", c.network, c.local, addr, syscall.EDESTADDRREQ)
	case !c.v4 && to.Addr().Is4() || !c.v6 && to.Addr().Is6():
		return 0, opError("write", c.network, c.local, addr, syscall.ENETUNREACH)
	}
	full := fullAddr(to)
	return c.send(b, &full, addr)
}

// send sends to addr, which is to or, if that is nil, where c is connected to.
func (c *UDPConn) send(b []byte, to *tcpip.FullAddress, addr net.Addr) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	defer c.src.Reset(nil)
	err := c.do(c.wake.writable, &c.writeDeadline, func() tcpip.Error {
		c.src.Reset(b)
		_, err := c.ep.Write(&c.src, tcpip.WriteOptions{To: to})
		return err
	})
	if err != nil {
		return 0, opError("write", c.network, c.local, addr, err)
	}
	return len(b), nil
}
