package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/wimble-proxy/wimble/wireguard"
)

// purpose is what a socket of the host is for.
type purpose int

const (
	endpointUDP   purpose = iota // a tunnel's own datagrams
	endpointName                 // asking the host's name servers for a peer's endpoint
	listener                     // the listener of a proxy or a forward
	gatewayTarget                // what a gateway's peer wants to reach
	gatewayName                  // asking the host's name servers for such a peer
	gatewayEcho                  // an ICMP echo request of such a peer
	controlSocket                // the Unix socket where other processes of the same user ask, at either end
	demoClient                   // "demo --once" as a client of its own proxy
	purposes
)

var purposeNames = [purposes]string{
	"endpoint-udp", "endpoint-name", "listener", "gateway-target", "gateway-name", "gateway-echo", "control", "demo-client",
}

// hostNet is the one way of this program to the network of the host: nothing outside of this file opens a socket of
// it. The sockets are counted by purpose.
type hostNet struct {
	opened [purposes]atomic.Uint64
}

// count counts a socket that was opened.
func (h *hostNet) count(p purpose, err error) {
	if err == nil {
		h.opened[p].Add(1)
	}
}

// LogValue is how many sockets were opened so far for each purpose.
func (h *hostNet) LogValue() slog.Value {
	var counts []slog.Attr
	for p := range h.opened {
		counts = append(counts, slog.Uint64(purposeNames[p], h.opened[p].Load()))
	}
	return slog.GroupValue(counts...)
}

// ListenPacket opens a tunnel's UDP socket.
func (h *hostNet) ListenPacket(ctx context.Context, network, address string) (wireguard.PacketConn, error) {
	c, err := new(net.ListenConfig).ListenPacket(ctx, network, address)
	h.count(endpointUDP, err)
	if err != nil {
		return nil, err
	}
	udp, ok := c.(*net.UDPConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("%s: not a UDP socket", network)
	}
	return udp, nil
}

// ListenPacketLoopback opens a tunnel's UDP socket that other machines can't reach. The address is ":port".
func (h *hostNet) ListenPacketLoopback(ctx context.Context, network, address string) (wireguard.PacketConn, error) {
	loopback := "127.0.0.1"
	if network == "udp6" {
		loopback = "[::1]"
	}
	return h.ListenPacket(ctx, network, loopback+address)
}

// Resolve looks up a name with the host's name servers. Only the endpoints of peers may be asked for here.
func (h *hostNet) Resolve(ctx context.Context, name string) ([]netip.Addr, error) {
	return h.resolve(ctx, endpointName, name)
}

// ResolveGateway looks up a name with the host's name servers, for the peer of a gateway that lets it through to them.
func (h *hostNet) ResolveGateway(ctx context.Context, name string) ([]netip.Addr, error) {
	return h.resolve(ctx, gatewayName, name)
}

func (h *hostNet) resolve(ctx context.Context, p purpose, name string) ([]netip.Addr, error) {
	r := net.Resolver{
		PreferGo: true, // or else Dial, and so the count, would be passed by
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			h.count(p, err)
			return c, err
		},
	}
	return r.LookupNetIP(ctx, "ip", name)
}

// Listen opens the listener of a proxy or a forward.
func (h *hostNet) Listen(ctx context.Context, address netip.AddrPort) (net.Listener, error) {
	var c net.ListenConfig
	if address.Addr().IsLoopback() {
		c.KeepAlive = -1 // nobody on this host is gone unnoticed, and it takes four system calls for each connection
	}
	ln, err := c.Listen(ctx, "tcp", address.String())
	h.count(listener, err)
	return ln, err
}

// DialGateway connects to what a gateway's rules allow: an address and a port.
func (h *hostNet) DialGateway(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	h.count(gatewayTarget, err)
	return c, err
}

// PingGateway sends an ICMP echo request to what a gateway's rules allow, and waits for the reply. It takes the kind of
// socket that needs no privilege; where the system has none for this user, it fails with EACCES or EPERM.
func (h *hostNet) PingGateway(ctx context.Context, target netip.Addr, data []byte) error {
	network, local := "udp4", "0.0.0.0"
	message := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{Seq: 1, Data: data}} // the system sets the ID
	if target.Is6() {
		network, local, message.Type = "udp6", "::", ipv6.ICMPTypeEchoRequest
	}
	c, err := icmp.ListenPacket(network, local)
	h.count(gatewayEcho, err)
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	request, err := message.Marshal(nil)
	if err != nil {
		return err
	}
	if _, err := c.WriteTo(request, &net.UDPAddr{IP: target.AsSlice()}); err != nil {
		return err
	}
	// The system gives the socket nothing but replies with its ID.
	if _, _, err = c.ReadFrom(make([]byte, len(request))); ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// ListenControl opens a control socket, which is removed when it is closed.
func (h *hostNet) ListenControl(ctx context.Context, path string) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	h.count(controlSocket, err)
	return ln, err
}

// DialControl connects to a control socket.
func (h *hostNet) DialControl(ctx context.Context, path string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	h.count(controlSocket, err)
	return c, err
}

// DialProxy connects to a listener of ours.
func (h *hostNet) DialProxy(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	h.count(demoClient, err)
	return c, err
}
