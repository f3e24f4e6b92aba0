package wireguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
)

// PacketConn is the UDP socket that a Device needs: *net.UDPConn is one. Its
// methods are called by several goroutines.
type PacketConn interface {
	ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (n int, err error)
	LocalAddr() net.Addr
	Close() error
}

// portAttempts is how often a random port is tried for both families: another
// program may have the IPv6 port of the one that IPv4 got.
const portAttempts = 100

// sockets are the UDP sockets of a Device, one for each family that the host
// has, both on one port.
type sockets struct {
	listen func(ctx context.Context, network, address string) (PacketConn, error)
	log    *slog.Logger
	v4, v6 atomic.Pointer[socket]

	mu      sync.Mutex      // serialises open, move, renew and close
	wanted  uint16          // guarded by mu; the configured port, 0 for any
	ctx     context.Context // guarded by mu; Run's, nil before and after it
	receive func(*socket)   // guarded by mu; starts a receiver
}

// socket is one of them.
type socket struct {
	conn   PacketConn
	closed chan struct{}
	platform
}

// train is what was received as one message: datagrams of stride bytes each, of
// which the last may be shorter, from one source.
type train struct {
	datagrams []byte
	stride    int
	from      engine.Endpoint
	buf       []byte // holds the datagrams
}

func (s *sockets) init(listen func(context.Context, string, string) (PacketConn, error), port uint16, log *slog.Logger) {
	s.listen, s.wanted, s.log = listen, port, log
	if s.listen == nil {
		s.listen = listenUDP
	}
}

// listenUDP is the default of Config.ListenPacket.
func listenUDP(ctx context.Context, network, address string) (PacketConn, error) {
	c, err := new(net.ListenConfig).ListenPacket(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

// open opens the sockets, and starts a receiver for each of these and of those
// that replace them, until close.
func (s *sockets) open(ctx context.Context, receive func(*socket)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx, s.receive = ctx, receive
	return s.replace(s.wanted)
}

// move changes the port. When that fails, the old sockets stay.
func (s *sockets) move(port uint16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil || port != 0 && port == s.port() {
		s.wanted = port
		return nil
	}
	if err := s.replace(port); err != nil {
		return err
	}
	s.wanted = port
	return nil
}

// renew opens new sockets on a new port, unless the port is configured: some
// paths, like a NAT that lost its state, work again only from another one.
func (s *sockets) renew() (renewed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil || s.wanted != 0 {
		return false, nil
	}
	err = s.replace(0)
	return err == nil, err
}

// replace puts sockets on port in the place of the present ones.
func (s *sockets) replace(port uint16) error {
	v4, v6, err := s.pair(port)
	if err != nil {
		return fmt.Errorf("wireguard: UDP port %d: %w", port, err)
	}
	for _, next := range []struct {
		now  *atomic.Pointer[socket]
		conn PacketConn
	}{{&s.v4, v4}, {&s.v6, v6}} {
		var fresh *socket
		if next.conn != nil {
			fresh = &socket{conn: next.conn, closed: make(chan struct{})}
			fresh.setup(s.log)
		}
		if old := next.now.Swap(fresh); old != nil {
			old.close()
		}
		if fresh != nil {
			s.receive(fresh)
		}
	}
	return nil
}

// pair opens a socket for each family on one port. A family that the host does
// not have is left out; it is an error to have neither.
func (s *sockets) pair(port uint16) (v4, v6 PacketConn, err error) {
	for range portAttempts {
		var err4, err6 error
		try := port
		if v4, err4 = s.listen(s.ctx, "udp4", ":"+strconv.Itoa(int(try))); err4 == nil {
			try = portOf(v4)
		}
		if v6, err6 = s.listen(s.ctx, "udp6", ":"+strconv.Itoa(int(try))); err6 == nil {
			return v4, v6, unlessNoFamily(err4, v6)
		}
		if v4 == nil {
			return nil, nil, errors.Join(err4, err6)
		}
		if !inUse(err6) {
			return v4, nil, nil
		}
		v4.Close()
		if port != 0 {
			return nil, nil, err6
		}
		err = err6
	}
	return nil, nil, err
}

// unlessNoFamily is nil when IPv4 failed only because the host has none; else
// it closes the other socket too.
func unlessNoFamily(err error, other PacketConn) error {
	if err == nil || !inUse(err) {
		return nil
	}
	other.Close()
	return err
}

func portOf(c PacketConn) uint16 {
	if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
		return uint16(a.Port)
	}
	return 0
}

// port is the port in use, 0 for none.
func (s *sockets) port() uint16 {
	for _, p := range []*atomic.Pointer[socket]{&s.v4, &s.v6} {
		if sock := p.Load(); sock != nil {
			return portOf(sock.conn)
		}
	}
	return 0
}

// close closes the sockets for good; their receivers end.
func (s *sockets) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx = nil
	for _, p := range []*atomic.Pointer[socket]{&s.v4, &s.v6} {
		if sock := p.Swap(nil); sock != nil {
			sock.close()
		}
	}
}

// errNoSocket: the host has no socket of the endpoint's family, or the Device
// does not run.
var errNoSocket = errors.New("wireguard: no UDP socket for this address family")

// send sends datagrams of stride bytes each to one endpoint.
func (s *sockets) send(datagrams []byte, stride int, to engine.Endpoint) error {
	sock := s.v4.Load()
	if to.Addr.Addr().Is6() {
		sock = s.v6.Load()
	}
	if sock == nil {
		return errNoSocket
	}
	return sock.send(datagrams, stride, to)
}

// sendSingly is the portable way: one system call for each datagram.
func (s *socket) sendSingly(datagrams []byte, stride int, to engine.Endpoint) error {
	var failed error
	for len(datagrams) > 0 {
		one := datagrams[:min(stride, len(datagrams))]
		datagrams = datagrams[len(one):]
		if _, err := s.conn.WriteToUDPAddrPort(one, to.Addr); err != nil {
			failed = err
		}
	}
	return failed
}

// receiveSingly is the portable way: one datagram for each system call.
func (s *socket) receiveSingly(handle func([]train)) error {
	single := []train{{buf: make([]byte, largeBuffer)}}
	t := &single[0]
	for {
		n, addr, err := s.conn.ReadFromUDPAddrPort(t.buf)
		if err != nil {
			return err
		}
		t.datagrams, t.stride = t.buf[:n], max(n, 1)
		t.from = engine.Endpoint{Addr: netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())}
		handle(single)
	}
}

// zoneOf is the zone of the interface with an index, as package net writes it.
func zoneOf(index uint32) string {
	if i, err := net.InterfaceByIndex(int(index)); err == nil {
		return i.Name
	}
	return strconv.FormatUint(uint64(index), 10)
}

// pause waits, and reports whether the socket was closed meanwhile.
func (s *socket) pause(d time.Duration) (closed bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-s.closed:
		return true
	case <-t.C:
		return false
	}
}

func (s *socket) close() {
	close(s.closed)
	s.conn.Close()
}
