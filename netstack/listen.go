package netstack

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// backlog is how many connections of a listener wait to be accepted, and as
// many again for the end of their handshake; after that the stack answers with
// cookies, which cost no memory.
const backlog = 1024

// Listen listens for TCP connections on an address of the tunnel, or on all of
// them: ":80" has no host. The network is tcp, tcp4 or tcp6. Connections are
// [*TCPConn]. The context is for Listen alone.
//
// The error is a [*net.OpError] around EADDRINUSE, around EADDRNOTAVAIL if the
// address is not the tunnel's, or as of DialContext.
func (n *Net) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	l := &listener{net: n}
	b, err := n.binding(ctx, network, address, tcp.ProtocolNumber)
	if err == nil {
		err = b.open(n, &l.socket, func(ep tcpip.Endpoint) tcpip.Error { return ep.Listen(backlog) })
	}
	if err != nil {
		return nil, opError("listen", network, nil, netAddr(network, b.addr), err)
	}
	return l, nil
}

// ListenPacket returns a UDP socket, a [*UDPConn], on an address of the tunnel
// or on all of them. The network is udp, udp4 or udp6. Errors are as of Listen.
func (n *Net) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	c := &UDPConn{}
	b, err := n.binding(ctx, network, address, udp.ProtocolNumber)
	if err == nil {
		c.v4, c.v6 = b.v4, b.v6
		err = b.open(n, &c.socket, func(tcpip.Endpoint) tcpip.Error { return nil })
	}
	if err != nil {
		return nil, opError("listen", network, nil, netAddr(network, b.addr), err)
	}
	return c, nil
}

// binding is a local address to listen on.
type binding struct {
	network   string
	transport tcpip.TransportProtocolNumber
	addr      netip.AddrPort
	v4, v6    bool // the families that it serves
}

// binding takes a local address apart and checks it.
func (n *Net) binding(
	ctx context.Context, network, address string, wanted tcpip.TransportProtocolNumber,
) (b binding, err error) {
	b.network = network
	t, err := parse(network, address)
	b.transport, b.addr = t.transport, netip.AddrPortFrom(t.addr, t.port)
	switch {
	case err != nil:
	case t.transport != wanted:
		err = net.UnknownNetworkError(network)
	case t.name != "":
		err = &net.AddrError{Err: "not an address of the tunnel", Addr: address}
	default:
		err = ctx.Err()
	}
	if err != nil {
		return b, err
	}
	b.v4, b.v6 = families(network, b.addr.Addr())
	b.v4, b.v6 = b.v4 && n.has4, b.v6 && n.has6
	a := b.addr.Addr()
	if own := !a.IsValid() || a.IsUnspecified() || n.own[a]; !own || !b.v4 && !b.v6 {
		err = syscall.EADDRNOTAVAIL
	}
	return b, err
}

// open makes s the socket of an endpoint that is bound, and with which the
// transport did what it wants.
func (b *binding) open(n *Net, s *socket, then func(tcpip.Endpoint) tcpip.Error) error {
	family := header.IPv4ProtocolNumber
	if b.v6 {
		family = header.IPv6ProtocolNumber
	}
	local := b.addr
	if local.Addr().IsUnspecified() {
		local = netip.AddrPortFrom(netip.Addr{}, local.Port())
	}
	return n.open(s, b.network, b.transport, family, func(ep tcpip.Endpoint) tcpip.Error {
		if b.v6 {
			ep.SocketOptions().SetV6Only(!b.v4)
		}
		if err := ep.Bind(fullAddr(local)); err != nil {
			return err
		}
		return then(ep)
	})
}

// families are those that a listener on an address serves: none given, or ::
// unless the network is of one family, is both.
func families(network string, a netip.Addr) (v4, v6 bool) {
	any4 := !a.IsValid() || a.Is4() || a == netip.IPv6Unspecified()
	any6 := !a.IsValid() || a.Is6()
	return any4 && network[3:] != "6", any6 && network[3:] != "4"
}

// listener is a TCP listener in the tunnel.
type listener struct {
	socket
	net       *Net
	accepting sync.Mutex
}

// Accept waits for the next connection; see [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	l.accepting.Lock()
	defer l.accepting.Unlock()
	var ep tcpip.Endpoint
	var q *waiter.Queue
	var remote tcpip.FullAddress
	err := l.do(l.wake.readable, &l.readDeadline, func() (err tcpip.Error) {
		ep, q, err = l.ep.Accept(&remote)
		return err
	})
	if err != nil {
		return nil, l.opError("accept", err)
	}
	return l.net.accepted(l.network, ep, q, remote), nil
}

// Addr is the address that the listener is bound to.
func (l *listener) Addr() net.Addr { return l.local }
