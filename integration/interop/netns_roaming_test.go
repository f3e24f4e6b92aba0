package interop

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard"
	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// TestNetns05Roaming: an end that has a new port or address is followed by the
// other one as soon as it says something, in the same session.
func TestNetns05Roaming(t *testing.T) {
	t.Parallel()
	eachPair(t, func(t *testing.T, from, to implementation) {
		testRoaming(t, from, to, []netip.Addr{
			loopback4, netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3"), loopback4,
		})
	})
}

// TestNetns06RoamingIPv6 is the same over IPv6, and from one family to the
// other and back.
func TestNetns06RoamingIPv6(t *testing.T) {
	t.Parallel()
	needAddress(t, loopback6)
	eachPair(t, func(t *testing.T, from, to implementation) {
		testRoaming(t, from, to, []netip.Addr{loopback6, loopback6, loopback4, loopback6})
	})
}

// testRoaming has the initiator come from one address after the other, and from
// a new port each time.
func testRoaming(t *testing.T, from, to implementation, addresses []netip.Addr) {
	for _, a := range addresses {
		needAddress(t, a)
	}
	var r *relay
	c := unite(t, from, to, union{outer: addresses[0], through: func(to netip.AddrPort) netip.AddrPort {
		r = newRelay(t, to, path{}, path{}, 1)
		return r.addr()
	}})
	ping(t, c.from, toInside[0].Addr())
	handshake := peerOf(t, c.to, c.fromKey).LastHandshake
	for i, outside := range addresses[1:] {
		old := expectSource(t, c, r)
		r.move(outside, netip.AddrPortFrom(sameFamily(outside), c.to.port(t)))
		ping(t, c.from, toInside[i%2].Addr())
		if now := expectSource(t, c, r); now == old || now.Addr() != outside {
			t.Errorf("moved to %v, the initiator comes from %v", outside, now)
		}
		ping(t, c.to, fromInside[i%2].Addr())
	}
	if now := peerOf(t, c.to, c.fromKey).LastHandshake; !now.Equal(handshake) {
		t.Errorf("there was another handshake %v later", now.Sub(handshake))
	}
}

// sameFamily is the loopback address of a's family.
func sameFamily(a netip.Addr) netip.Addr {
	if a.Is6() {
		return loopback6
	}
	return loopback4
}

// expectSource checks that the responder's endpoint is where the relay sends
// from.
func expectSource(t *testing.T, c *couple, r *relay) netip.AddrPort {
	t.Helper()
	sources, endpoint := r.sources(), peerOf(t, c.to, c.fromKey).Endpoint
	if len(sources) != 1 || sources[0] != endpoint {
		t.Errorf("the initiator's endpoint is %v, and it comes from %v", endpoint, sources)
	}
	return endpoint
}

// TestNetns05ListenPort: each end changes its own port while the session goes
// on.
func TestNetns05ListenPort(t *testing.T) {
	t.Parallel()
	eachPair(t, func(t *testing.T, from, to implementation) {
		c := unite(t, from, to, union{})
		ping(t, c.from, toInside[0].Addr())
		handshake := peerOf(t, c.from, c.toKey).LastHandshake
		for range 2 {
			movePort(t, c.from)
			ping(t, c.from, toInside[0].Addr())
			expectPort(t, c.to, c.fromKey, c.from)
			movePort(t, c.to)
			ping(t, c.to, fromInside[0].Addr())
			expectPort(t, c.from, c.toKey, c.to)
		}
		if now := peerOf(t, c.from, c.toKey).LastHandshake; !now.Equal(handshake) {
			t.Errorf("there was another handshake %v later", now.Sub(handshake))
		}
	})
}

// movePort gives n a port that was free a moment ago.
func movePort(t *testing.T, n node) {
	t.Helper()
	free := listenUDP(t, loopback4)
	port := addrOf(free).Port()
	free.Close()
	n.apply(t, wireguard.Change{ListenPort: &port})
	if got := n.port(t); got != port {
		t.Fatalf("the port is %d, want %d", got, port)
	}
}

// expectPort checks that a peer of n is seen where it listens.
func expectPort(t *testing.T, n node, k key.Public, peer node) {
	t.Helper()
	want := netip.AddrPortFrom(loopback4, peer.port(t))
	if got := peerOf(t, n, k).Endpoint; got != want {
		t.Errorf("the endpoint is %v, want %v", got, want)
	}
}

// TestNetns07CryptoRouting: a packet counts as sent by the peer that has the
// most specific prefix for its source. From any other peer it is dropped, but
// shows where that peer is.
func TestNetns07CryptoRouting(t *testing.T) {
	t.Parallel()
	eachPair(t, func(t *testing.T, from, to implementation) {
		c := unite(t, from, to, union{})
		changePeer(t, c.to, engine.PeerChange{PublicKey: c.fromKey, AllowedIPs: []netip.Prefix{
			netip.MustParsePrefix("10.7.0.0/24"), netip.MustParsePrefix("fd07::/64"),
		}, ReplaceAllowedIPs: true})
		for i := range fromInside {
			service, err := c.to.ListenPacket(t.Context(), "udp", at(toInside[i], 1111))
			if err != nil {
				t.Fatal(err)
			}
			defer service.Close()
			conn, err := c.from.DialContext(t.Context(), "udp", at(toInside[i], 1111))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			say(t, conn, "before")
			hear(t, service, "before")

			specific := engine.PeerChange{PublicKey: newKey(t).Public(), AllowedIPs: fromInside[i : i+1]}
			changePeer(t, c.to, specific)
			movePort(t, c.from)
			say(t, conn, "stolen")
			want := netip.AddrPortFrom(loopback4, c.from.port(t))
			if !eventually(func() bool { return peerOf(t, c.to, c.fromKey).Endpoint == want }) {
				t.Errorf("the endpoint is %v, want %v where the dropped packet came from", peerOf(t, c.to, c.fromKey).Endpoint, want)
			}
			changePeer(t, c.to, engine.PeerChange{PublicKey: specific.PublicKey, Remove: true})
			say(t, conn, "after")
			hear(t, service, "after") // and not what was said before it
		}
	})
}

// say sends one datagram.
func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// hear receives one datagram.
func hear(t *testing.T, c net.PacketConn, want string) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience / 4)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, _, err := c.ReadFrom(buf)
	if err != nil || string(buf[:n]) != want {
		t.Fatalf("heard %q (%v), want %q", buf[:n], err, want)
	}
}

// TestNetns11NAT: a NAT forgets who was silent for two seconds. A persistent
// keepalive of one second prevents that, and so the initiator can be reached;
// without one it has to speak first.
func TestNetns11NAT(t *testing.T) {
	t.Parallel()
	eachPair(t, func(t *testing.T, from, to implementation) {
		var nat *relay
		c := unite(t, from, to, union{keepalive: time.Second, through: func(to netip.AddrPort) netip.AddrPort {
			nat = newRelay(t, to, path{}, path{}, 1)
			nat.forgetful(int(2 * time.Second / tick))
			return nat.addr()
		}})
		var keepalives atomic.Int64
		nat.observe(func(a arrival) bool {
			if a.toTarget && a.size == 32 {
				keepalives.Add(1)
			}
			return true
		})
		ping(t, c.from, toInside[0].Addr())
		ping(t, c.to, fromInside[0].Addr())
		mapped := expectSource(t, c, nat)
		enough := keepalives.Load() + 3 // longer than the NAT remembers
		if !eventually(func() bool { return keepalives.Load() >= enough }) {
			t.Fatalf("%d keepalives, want %d", keepalives.Load(), enough)
		}
		ping(t, c.to, fromInside[0].Addr())
		if now := expectSource(t, c, nat); now != mapped || nat.forgotten() != 0 {
			t.Fatalf("the NAT forgot %d times and now sends from %v, not %v any more", nat.forgotten(), now, mapped)
		}

		off := time.Duration(0)
		changePeer(t, c.from, engine.PeerChange{PublicKey: c.toKey, Keepalive: &off})
		if !eventually(func() bool { return nat.forgotten() == 1 }) {
			t.Fatal("without keepalives the NAT did not forget, so it shows nothing")
		}
		ping(t, c.from, toInside[0].Addr())
		expectSource(t, c, nat)
		ping(t, c.to, fromInside[0].Addr())
	})
}
