package interop

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"golang.zx2c4.com/wireguard/conn"

	"github.com/wimble-proxy/wimble/wireguard"
)

// listenPacket opens the sockets of an engine, as netstack.Options says. Nil is
// the host's own.
type listenPacket func(ctx context.Context, network, address string) (wireguard.PacketConn, error)

// insideOf opens sockets on an address inside a tunnel, for another tunnel.
func insideOf(e end, inside netip.Addr) listenPacket {
	return func(ctx context.Context, network, address string) (wireguard.PacketConn, error) {
		if network != "udp4" {
			return nil, &net.OpError{Op: "listen", Net: network, Err: syscall.EAFNOSUPPORT}
		}
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		c, err := e.ListenPacket(ctx, "udp", net.JoinHostPort(inside.String(), port))
		return packetConn{c}, err
	}
}

// packetConn is a socket of either stack as an engine wants it.
type packetConn struct{ net.PacketConn }

func (c packetConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, from, err := c.ReadFrom(b)
	if a, ok := from.(*net.UDPAddr); ok && err == nil {
		return n, a.AddrPort(), nil
	}
	return n, netip.AddrPort{}, err
}

func (c packetConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return c.WriteTo(b, net.UDPAddrFromAddrPort(to))
}

// bind lets wireguard-go use any IPv4 socket that ours can use.
type bind struct {
	listen listenPacket

	mu   sync.Mutex
	conn wireguard.PacketConn // guarded by mu, nil while closed
}

func (b *bind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	c, err := b.listen(context.Background(), "udp4", net.JoinHostPort("", strconv.Itoa(int(port))))
	if err != nil {
		return nil, 0, err
	}
	b.conn = c
	at, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok {
		return nil, 0, errors.New("not a socket with a UDP address")
	}
	return []conn.ReceiveFunc{func(packets [][]byte, sizes []int, from []conn.Endpoint) (int, error) {
		n, source, err := c.ReadFromUDPAddrPort(packets[0])
		if err != nil {
			return 0, net.ErrClosed // the only reason of these sockets
		}
		sizes[0], from[0] = n, remote{source}
		return 1, nil
	}}, uint16(at.Port), nil
}

func (b *bind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == nil {
		return nil
	}
	c := b.conn
	b.conn = nil
	return c.Close()
}

func (b *bind) Send(packets [][]byte, to conn.Endpoint) error {
	b.mu.Lock()
	c := b.conn
	b.mu.Unlock()
	if c == nil {
		return net.ErrClosed
	}
	var failed error
	for _, p := range packets {
		_, err := c.WriteToUDPAddrPort(p, to.(remote).AddrPort)
		failed = errors.Join(failed, err)
	}
	return failed
}

func (*bind) ParseEndpoint(s string) (conn.Endpoint, error) {
	a, err := netip.ParseAddrPort(s)
	return remote{a}, err
}

func (*bind) SetMark(uint32) error { return nil }
func (*bind) BatchSize() int       { return 1 }

// remote is an endpoint without a memory of the local address.
type remote struct{ netip.AddrPort }

func (r remote) DstToString() string { return r.String() }
func (r remote) DstIP() netip.Addr   { return r.Addr() }

func (r remote) DstToBytes() []byte {
	b, err := r.MarshalBinary()
	if err != nil {
		panic(err) // an address and a port can be marshalled
	}
	return b
}

func (remote) SrcIP() netip.Addr   { return netip.Addr{} }
func (remote) SrcToString() string { return "" }
func (remote) ClearSrc()           {}

// TestBindReopens: wireguard-go opens its sockets anew when its port changes.
func TestBindReopens(t *testing.T) {
	b := &bind{listen: func(ctx context.Context, network, address string) (wireguard.PacketConn, error) {
		c, err := new(net.ListenConfig).ListenPacket(ctx, network, address)
		return packetConn{c}, err
	}}
	for range 2 {
		receive, port, err := b.Open(0)
		if err != nil || port == 0 {
			t.Fatalf("port %d, %v", port, err)
		}
		if err := b.Send([][]byte{[]byte("hello")}, remote{netip.AddrPortFrom(loopback4, port)}); err != nil {
			t.Fatal(err)
		}
		buf, sizes, from := make([]byte, 10), make([]int, 1), make([]conn.Endpoint, 1)
		if n, err := receive[0]([][]byte{buf}, sizes, from); n != 1 || err != nil || string(buf[:sizes[0]]) != "hello" {
			t.Fatalf("received %d, %v", n, err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := receive[0]([][]byte{buf}, sizes, from); !errors.Is(err, net.ErrClosed) {
			t.Errorf("receive after Close: %v", err)
		}
	}
}
