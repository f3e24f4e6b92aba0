package netstack

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// DialContext connects to an address in the tunnel, like [net.Dialer]. The
// network is tcp, tcp4, tcp6, udp, udp4 or udp6; the port is a number. A host
// that is a name is looked up by [Net.Resolver], and its addresses are tried
// as RFC 8305 says. The connection is a [*TCPConn] or a [*UDPConn].
//
// The error is a [*net.OpError]. Of its causes errors.Is finds
// wireguard.ErrNoPeer and ENETUNREACH if no peer has the address,
// wireguard.ErrNoEndpoint and EHOSTUNREACH if where the peer is is not known
// yet, ENETUNREACH if the tunnel has no address of the family, ECONNREFUSED,
// ETIMEDOUT, EHOSTUNREACH and what else the far side says, EADDRNOTAVAIL if
// every port is in use, the context's error, net.ErrClosed after Close, and a
// [*net.DNSError] for a name without an address.
func (n *Net) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	t, err := parse(network, address)
	switch {
	case err != nil:
		return nil, opError("dial", network, nil, nil, err)
	case t.name != "":
		return n.dialName(ctx, network, t)
	case !t.addr.IsValid():
		return nil, opError("dial", network, nil, nil, &net.AddrError{Err: "missing host", Addr: address})
	}
	return n.dialAddr(ctx, network, t.transport, netip.AddrPortFrom(t.addr, t.port))
}

// dialAddr connects to one address.
func (n *Net) dialAddr(ctx context.Context, network string, transport tcpip.TransportProtocolNumber, dst netip.AddrPort) (net.Conn, error) {
	err := n.reach(dst.Addr())
	var c net.Conn
	switch {
	case err != nil:
	case transport == tcp.ProtocolNumber:
		c, err = n.dialTCP(ctx, network, dst)
	default:
		c, err = n.dialUDP(network, dst)
	}
	if err != nil {
		return nil, opError("dial", network, nil, netAddr(network, dst), err)
	}
	return c, nil
}

// dialName connects to a name.
func (n *Net) dialName(ctx context.Context, network string, t target) (net.Conn, error) {
	answers := n.resolver.lookup(ctx, "ip"+network[3:], t.name)
	r := race{
		answers: answers, missing: cap(answers),
		dial: func(ctx context.Context, a netip.Addr) (net.Conn, error) {
			return n.dialAddr(ctx, network, t.transport, netip.AddrPortFrom(a, t.port))
		},
	}
	c, err := r.run(ctx)
	var failure *net.OpError
	if err != nil && !errors.As(err, &failure) {
		err = opError("dial", network, nil, nil, err)
	}
	return c, err
}

// reach fails if packets can't go to dst, so that nobody waits for them.
func (n *Net) reach(dst netip.Addr) error {
	if !n.has4 && dst.Is4() || !n.has6 && dst.Is6() {
		return syscall.ENETUNREACH
	}
	if n.own[dst] {
		return nil
	}
	if _, err := n.nic.route(dst); err != nil {
		return routeError(dst, err)
	}
	return nil
}

// target is what a network and an address of package net say: a name or an
// address, or for a listener neither, and a port.
type target struct {
	transport tcpip.TransportProtocolNumber
	name      string
	addr      netip.Addr
	port      uint16
}

// parse takes a network and an address apart.
func parse(network, address string) (t target, err error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
		t.transport = tcp.ProtocolNumber
	case "udp", "udp4", "udp6":
		t.transport = udp.ProtocolNumber
	default:
		return t, net.UnknownNetworkError(network)
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return t, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return t, &net.AddrError{Err: "port is not a number from 0 to 65535", Addr: address}
	}
	t.port = uint16(port)
	if host == "" {
		return t, nil
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		t.name = host
		return t, nil
	case addr.Zone() != "":
		return t, &net.AddrError{Err: "a zone has no meaning in a tunnel", Addr: address}
	}
	t.addr = addr.Unmap()
	if family := network[3:]; family == "4" && !t.addr.Is4() || family == "6" && !t.addr.Is6() {
		return t, &net.AddrError{Err: "not an address for " + network, Addr: address}
	}
	return t, nil
}

// netAddr is an address in the type that package net has for the network.
func netAddr(network string, a netip.AddrPort) net.Addr {
	switch {
	case !a.IsValid():
		return nil
	case strings.HasPrefix(network, "udp"):
		return net.UDPAddrFromAddrPort(a)
	}
	return net.TCPAddrFromAddrPort(a)
}
