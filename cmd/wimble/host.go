package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/wimble-proxy/wimble/wireguard"
)

// purpose is what a socket of the host is for.
type purpose int

const (
	endpointUDP  purpose = iota // a tunnel's own datagrams
	endpointName                // asking the host's name servers for a peer's endpoint
	listener                    // a proxy's listener
	demoClient                  // "demo --once" as a client of its own proxy
	purposes
)

var purposeNames = [purposes]string{"endpoint-udp", "endpoint-name", "listener", "demo-client"}

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
	r := net.Resolver{
		PreferGo: true, // or else Dial, and so the count, would be passed by
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			h.count(endpointName, err)
			return c, err
		},
	}
	return r.LookupNetIP(ctx, "ip", name)
}

// Listen opens a proxy's listener.
func (h *hostNet) Listen(ctx context.Context, address netip.AddrPort) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address.String())
	h.count(listener, err)
	return ln, err
}

// DialProxy connects to a listener of ours.
func (h *hostNet) DialProxy(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	h.count(demoClient, err)
	return c, err
}
