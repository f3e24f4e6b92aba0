package interop

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/netstack"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// end is one end of a tunnel, as a program inside sees it. Tests treat both
// engines alike.
type end interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	Ping(ctx context.Context, dst netip.Addr) (time.Duration, error)
}

// The addresses inside every tunnel. Each has its own stacks.
var (
	oursInside   = []netip.Prefix{netip.MustParsePrefix("10.7.0.1/32"), netip.MustParsePrefix("fd07::1/128")}
	theirsInside = []netip.Prefix{netip.MustParsePrefix("10.7.0.2/32"), netip.MustParsePrefix("fd07::2/128")}
)

// The outer addresses.
var (
	loopback4 = netip.MustParseAddr("127.0.0.1")
	loopback6 = netip.IPv6Loopback()
)

// setup is what may differ between two tunnels.
type setup struct {
	weInitiate bool
	preshared  bool
	outer      netip.Addr
}

// tunnel is our netstack and wireguard-go, connected.
type tunnel struct {
	ours   *netstack.Net
	theirs *foreign
	// from initiates, to answers: who initiates knows the other's address,
	// who answers learns it.
	from, to             end
	fromInside, toInside []netip.Prefix
}

// openTunnel starts both ends. The handshake comes with the first packet.
func openTunnel(t *testing.T, s setup) *tunnel {
	t.Helper()
	needAddress(t, s.outer)
	ours, theirs := configure(t, s.preshared)
	tun := &tunnel{}
	if s.weInitiate {
		tun.theirs = openForeign(t, theirs)
		ours.Peers[0].Endpoint = netip.AddrPortFrom(s.outer, tun.theirs.port(t)).String()
		tun.ours = openOurs(t, ours)
		tun.from, tun.fromInside, tun.to, tun.toInside = tun.ours, oursInside, tun.theirs, theirsInside
		return tun
	}
	tun.ours = openOurs(t, ours)
	theirs.Peers[0].Endpoint = netip.AddrPortFrom(s.outer, tun.ours.Device().ListenPort()).String()
	tun.theirs = openForeign(t, theirs)
	tun.from, tun.fromInside, tun.to, tun.toInside = tun.theirs, theirsInside, tun.ours, oursInside
	return tun
}

// configure makes the configurations of two ends that know each other's keys
// and not yet each other's endpoints.
func configure(t testing.TB, preshared bool) (ours, theirs config.Tunnel) {
	t.Helper()
	ourKey, theirKey := newKey(t), newKey(t)
	var psk key.Preshared
	if preshared {
		var err error
		if psk, err = key.NewPreshared(rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	ours = config.Tunnel{Name: "ours", PrivateKey: ourKey, Addresses: oursInside, Peers: []config.Peer{
		{PublicKey: theirKey.Public(), PresharedKey: psk, AllowedIPs: theirsInside},
	}}
	theirs = config.Tunnel{Name: "theirs", PrivateKey: theirKey, Addresses: theirsInside, Peers: []config.Peer{
		{PublicKey: ourKey.Public(), PresharedKey: psk, AllowedIPs: oursInside},
	}}
	return ours, theirs
}

func newKey(t testing.TB) key.Private {
	t.Helper()
	k, err := key.NewPrivate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func openOurs(t *testing.T, c config.Tunnel) *netstack.Net {
	t.Helper()
	n, err := netstack.Open(t.Context(), c, netstack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// at is an address inside with a port.
func at(inside netip.Prefix, port int) string {
	return net.JoinHostPort(inside.Addr().String(), strconv.Itoa(port))
}

// needAddress skips the test on a host that does not have the address, as
// containers without IPv6.
func needAddress(t *testing.T, a netip.Addr) {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err != nil {
		skip(t, fmt.Sprintf("this host has no address %v: %v", a, err))
	}
	c.Close()
}

// counters are the bytes that an end sent and received over UDP, as it counts
// them itself.
func (tun *tunnel) counters(t *testing.T, e end) (sent, received uint64) {
	t.Helper()
	if e == tun.theirs {
		return tun.theirs.number(t, "tx_bytes"), tun.theirs.number(t, "rx_bytes")
	}
	p := tun.ours.Device().Snapshot().Peers[0]
	return p.Sent, p.Received
}
