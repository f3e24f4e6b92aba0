package wireguard

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
)

// memNet is a network of UDP sockets in memory. Datagrams arrive at once and
// in order; tap sees each of them first and may drop, change or multiply them.
type memNet struct {
	mu    sync.Mutex
	conns map[netip.AddrPort]*memConn
	port  uint16
	// tap returns what is delivered instead of one datagram; nil delivers it.
	tap func(from, to netip.AddrPort, b []byte) [][]byte
}

func newMemNet() *memNet { return &memNet{conns: map[netip.AddrPort]*memConn{}, port: 1000} }

// host returns the ListenPacket of a host with these addresses, one at most of
// each family.
func (n *memNet) host(addrs ...netip.Addr) func(context.Context, string, string) (PacketConn, error) {
	return func(_ context.Context, network, address string) (PacketConn, error) {
		i := slices.IndexFunc(addrs, func(a netip.Addr) bool { return a.Is6() == (network == "udp6") })
		if i < 0 {
			return nil, &net.OpError{Op: "listen", Net: network, Err: syscall.EAFNOSUPPORT}
		}
		want, err := net.ResolveUDPAddr(network, address)
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		port := uint16(want.Port)
		if port == 0 {
			n.port++
			port = n.port
		}
		at := netip.AddrPortFrom(addrs[i], port)
		if n.conns[at] != nil {
			return nil, &net.OpError{Op: "listen", Net: network, Err: syscall.EADDRINUSE}
		}
		c := &memConn{net: n, at: at, in: make(chan memDatagram, 1024), closed: make(chan struct{})}
		n.conns[at] = c
		return c, nil
	}
}

// send carries one datagram, or what tap makes of it.
func (n *memNet) send(from, to netip.AddrPort, b []byte) {
	n.mu.Lock()
	tap := n.tap
	n.mu.Unlock()
	carried := [][]byte{append([]byte(nil), b...)}
	if tap != nil {
		carried = tap(from, to, carried[0])
	}
	for _, b := range carried {
		n.inject(from, to, b)
	}
}

// inject delivers one datagram past the tap.
func (n *memNet) inject(from, to netip.AddrPort, b []byte) {
	n.mu.Lock()
	c := n.conns[to]
	n.mu.Unlock()
	if c == nil {
		return
	}
	select {
	case c.in <- memDatagram{from, b}:
	default: // a full socket buffer
	}
}

func (n *memNet) setTap(tap func(from, to netip.AddrPort, b []byte) [][]byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tap = tap
}

type memDatagram struct {
	from netip.AddrPort
	b    []byte
}

// memConn is one socket.
type memConn struct {
	net    *memNet
	at     netip.AddrPort
	in     chan memDatagram
	once   sync.Once
	closed chan struct{}
}

func (c *memConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case <-c.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	case d := <-c.in:
		return copy(b, d.b), d.from, nil
	}
}

func (c *memConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	c.net.send(c.at, to, b)
	return len(b), nil
}

func (c *memConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.at) }

func (c *memConn) Close() error {
	c.once.Do(func() {
		c.net.mu.Lock()
		delete(c.net.conns, c.at)
		c.net.mu.Unlock()
		close(c.closed)
	})
	return nil
}
