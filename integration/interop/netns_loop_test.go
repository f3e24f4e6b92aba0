package interop

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/wireguard"
	"github.com/wimble-proxy/wimble/wireguard/engine"
)

// TestNetns13Onion: one interface reaches its second peer through its first.
// When that peer's endpoint then is an address behind the same peer, every
// datagram to it goes round and round; nothing may hang or grow for that, the
// first peer is still reached, and the interface can be closed.
func TestNetns13Onion(t *testing.T) {
	t.Parallel()
	for _, far := range []implementation{wimble, wireguardGo} {
		t.Run("to "+far.name, func(t *testing.T) {
			t.Parallel()
			testOnion(t, far)
		})
	}
}

// onionInside is the address of the second peer, inside.
var onionInside = netip.MustParsePrefix("10.8.0.2/32")

func testOnion(t *testing.T, far implementation) {
	nearConfig, firstConfig := configure(t, false)
	first := far.open(t, firstConfig, nil)
	second := far.open(t, config.Tunnel{
		Name: "second", PrivateKey: newKey(t), MTU: 1280, Addresses: []netip.Prefix{onionInside},
		Peers: []config.Peer{{PublicKey: nearConfig.PrivateKey.Public(), AllowedIPs: fromInside}},
	}, insideOf(first, toInside[0].Addr()))
	secondKey := second.snapshot(t).PublicKey

	nearConfig.Peers[0].Endpoint = netip.AddrPortFrom(loopback4, first.port(t)).String()
	nearConfig.Peers = append(nearConfig.Peers, config.Peer{
		PublicKey: secondKey, AllowedIPs: []netip.Prefix{onionInside},
		Endpoint: netip.AddrPortFrom(toInside[0].Addr(), second.port(t)).String(),
	})
	near := openOnion(t, nearConfig)
	ping(t, near, onionInside.Addr())

	loop := netip.AddrPortFrom(onionInside.Addr(), 5)
	changePeer(t, near, engine.PeerChange{PublicKey: secondKey, Endpoint: &loop})
	before := peerOf(t, near, secondKey).Sent
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := near.Ping(ctx, onionInside.Addr()); err == nil {
		t.Error("a ping into the loop was answered")
	}
	const rounds = 100 * 1420
	if !eventually(func() bool { return peerOf(t, near, secondKey).Sent > before+rounds }) {
		t.Errorf("a ping into the loop became %d bytes: it did not go round", peerOf(t, near, secondKey).Sent-before)
	}
	ping(t, near, toInside[0].Addr())
	// And with all that still going round it is closed.
}

// openOnion starts a node of ours that sends what is for an address inside
// through itself.
func openOnion(t *testing.T, c config.Tunnel) node {
	t.Helper()
	o := &onionSocket{host: listenUDP(t, loopback4), received: make(chan datagram), through: make(chan datagram, 64), done: make(chan struct{})}
	n := openNode(t, c, func(_ context.Context, network, _ string) (wireguard.PacketConn, error) {
		if network != "udp4" {
			return nil, net.UnknownNetworkError(network)
		}
		return o, nil
	})
	inside, err := insideOf(n, fromInside[0].Addr())(t.Context(), "udp4", ":5")
	if err != nil {
		t.Fatal(err)
	}
	o.tasks.Go(func() { o.receive(o.host) })
	o.tasks.Go(func() { o.receive(inside) })
	o.tasks.Go(func() { o.send(inside) })
	return n
}

// onionSocket is a socket of the host and one inside the tunnel that it
// carries. A tunnel can't wait for itself: what is for the second one waits in
// a queue, and is lost when that is full.
type onionSocket struct {
	host     *net.UDPConn
	received chan datagram
	through  chan datagram
	done     chan struct{}
	tasks    sync.WaitGroup
}

type datagram struct {
	b  []byte
	at netip.AddrPort // where it comes from or goes to
}

// receive takes what comes to one of the two sockets, until that is closed.
func (o *onionSocket) receive(c wireguard.PacketConn) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		select {
		case o.received <- datagram{bytes.Clone(buf[:n]), from}:
		case <-o.done:
			return
		}
	}
}

// send sends what is in the queue.
func (o *onionSocket) send(inside wireguard.PacketConn) {
	for {
		select {
		case d := <-o.through:
			_, _ = inside.WriteToUDPAddrPort(d.b, d.at) // too large, or closed: lost
		case <-o.done:
			return
		}
	}
}

func (o *onionSocket) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case d := <-o.received:
		return copy(b, d.b), d.at, nil
	case <-o.done:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

func (o *onionSocket) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if to.Addr().IsLoopback() {
		return o.host.WriteToUDPAddrPort(b, to)
	}
	select {
	case o.through <- datagram{bytes.Clone(b), to}:
	default:
	}
	return len(b), nil
}

func (o *onionSocket) LocalAddr() net.Addr { return o.host.LocalAddr() }

// Close is called when the stack is closed, and with it the socket inside.
func (o *onionSocket) Close() error {
	close(o.done)
	err := o.host.Close()
	o.tasks.Wait()
	return err
}
