package interop

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/wireguard"
	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// TestNetns08KeyChange: each end gets a new private key while they talk, and
// the next packet makes a handshake at once, not after a Rekey-Timeout.
func TestNetns08KeyChange(t *testing.T) {
	t.Parallel()
	eachPair(t, func(t *testing.T, from, to implementation) {
		const atOnce = engine.RekeyTimeout * 9 / 10
		c := unite(t, from, to, union{})
		ping(t, c.from, toInside[0].Addr())

		c.fromKey = changeKey(t, c.from, c.to, c.fromKey, engine.PeerChange{AllowedIPs: fromInside})
		pingWithin(t, c.from, toInside[0].Addr(), atOnce)
		pingWithin(t, c.to, fromInside[0].Addr(), atOnce)

		endpoint := netip.AddrPortFrom(loopback4, c.to.port(t))
		c.toKey = changeKey(t, c.to, c.from, c.toKey, engine.PeerChange{AllowedIPs: toInside, Endpoint: &endpoint})
		pingWithin(t, c.to, fromInside[0].Addr(), atOnce)
		pingWithin(t, c.from, toInside[0].Addr(), atOnce)

		for n, k := range map[node]key.Public{c.from: c.toKey, c.to: c.fromKey} {
			if s := n.snapshot(t); len(s.Peers) != 1 || s.Peers[0].PublicKey != k {
				t.Errorf("the peers are %+v, want %v alone", s.Peers, k)
			}
		}
	})
}

// floodInterval is how far two initiations of a peer must be apart, and more
// than one step of their timestamps.
const floodInterval = 20 * time.Millisecond

// changeKey gives n a new private key, of which its peer is told first. It is
// for n to speak next: two initiations that cross may both end. The preshared
// key goes with the old one.
func changeKey(t *testing.T, n, peer node, old key.Public, knows engine.PeerChange) key.Public {
	t.Helper()
	time.Sleep(2 * floodInterval)
	k := newKey(t)
	knows.PublicKey = k.Public()
	peer.apply(t, wireguard.Change{Peers: []wireguard.PeerChange{
		{PeerChange: engine.PeerChange{PublicKey: old, Remove: true}}, {PeerChange: knows},
	}})
	changePeer(t, n, engine.PeerChange{PublicKey: peer.snapshot(t).PublicKey, PresharedKey: new(key.Preshared)})
	n.apply(t, wireguard.Change{PrivateKey: &k})
	if got := n.snapshot(t).PublicKey; got != k.Public() {
		t.Fatalf("the key is %v, want %v", got, k.Public())
	}
	return k.Public()
}

// lone is the configuration of a node without peers.
func lone(t *testing.T) config.Tunnel {
	return config.Tunnel{Name: "lone", PrivateKey: newKey(t), Addresses: fromInside}
}

// TestNetns20Size: configurations of the sizes that made the kernel split its
// answers come out as they went in, and both engines say the same of them.
func TestNetns20Size(t *testing.T) {
	t.Parallel()
	many := engine.PeerChange{PublicKey: newKey(t).Public()}
	for a := range 255 {
		for b := range 256 {
			many.AllowedIPs = append(many.AllowedIPs, parsePrefix("%d.%d.0.0/32", a+1, b), parsePrefix("%x::%x/128", a+1, b))
		}
	}
	var some, none []engine.PeerChange
	for a := range 40 {
		p := engine.PeerChange{PublicKey: newKey(t).Public()}
		for b := range 52 {
			p.AllowedIPs = append(p.AllowedIPs, parsePrefix("%d.%d.0.0/16", a+1, b+1))
		}
		some = append(some, p)
	}
	for range 29 {
		none = append(none, engine.PeerChange{PublicKey: newKey(t).Public()})
	}
	none = append(none, engine.PeerChange{PublicKey: newKey(t).Public(), AllowedIPs: []netip.Prefix{
		netip.MustParsePrefix("255.2.3.4/32"), netip.MustParsePrefix("abcd::255/128"),
	}})
	long := engine.PeerChange{PublicKey: newKey(t).Public()}
	for i := range 197 {
		long.AllowedIPs = append(long.AllowedIPs, parsePrefix("abcd::%d/128", i+1))
	}
	eachImplementation(t, func(t *testing.T, of implementation) {
		n := of.open(t, lone(t), nil)
		for _, peers := range [][]engine.PeerChange{{many}, some, none, {long}} {
			c := wireguard.Change{ReplacePeers: true}
			want := map[key.Public][]netip.Prefix{}
			for _, p := range peers {
				c.Peers = append(c.Peers, wireguard.PeerChange{PeerChange: p})
				want[p.PublicKey] = slices.SortedFunc(slices.Values(p.AllowedIPs), netip.Prefix.Compare)
			}
			n.apply(t, c)
			got := map[key.Public][]netip.Prefix{}
			for _, p := range n.snapshot(t).Peers {
				got[p.PublicKey] = p.AllowedIPs
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%d peers came out as %d, or with other prefixes", len(want), len(got))
			}
		}
	})
}

func parsePrefixes(list string) (prefixes []netip.Prefix) {
	for _, s := range strings.Split(list, ",") {
		prefixes = append(prefixes, netip.MustParsePrefix(s))
	}
	return prefixes
}

func parsePrefix(format string, a ...any) netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf(format, a...))
}

// TestNetns21Keys: what happens to keys that are taken away, to a peer with our
// own key, to a key that is not clamped, and to prefixes that overlap.
func TestNetns21Keys(t *testing.T) {
	t.Parallel()
	eachImplementation(t, func(t *testing.T, of implementation) {
		n := of.open(t, lone(t), nil)
		one, two := newKey(t), newKey(t)
		psk, err := key.NewPreshared(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		identify := func(k key.Private) { n.apply(t, wireguard.Change{PrivateKey: &k}) }
		peer := engine.PeerChange{PublicKey: two.Public()}
		expect := func(what string, own key.Public, peers ...key.Public) {
			t.Helper()
			s := n.snapshot(t)
			var got []key.Public
			for _, p := range s.Peers {
				got = append(got, p.PublicKey)
			}
			if s.PublicKey != own || !slices.Equal(got, peers) {
				t.Errorf("%s: the key is %v with peers %v, want %v with %v", what, s.PublicKey, got, own, peers)
			}
		}

		identify(one)
		peer.PresharedKey = &psk
		changePeer(t, n, peer)
		expect("a peer", one.Public(), two.Public())
		if !peerOf(t, n, two.Public()).HasPreshared {
			t.Error("the preshared key was not taken")
		}
		identify(key.Private{})
		peer.PresharedKey = new(key.Preshared)
		changePeer(t, n, peer)
		if peerOf(t, n, two.Public()).HasPreshared {
			t.Error("the preshared key was not taken away")
		}
		if got := n.snapshot(t).PublicKey; got != (key.Public{}) && got != new(key.Private).Public() {
			t.Errorf("without a private key the public one is %v", got)
		}
		changePeer(t, n, peer)
		identify(two)
		expect("the peer's key became ours", two.Public())
		changePeer(t, n, peer)
		expect("our own key as a peer", two.Public())
		identify(one)
		changePeer(t, n, peer)
		expect("another key, and the peer again", one.Public(), two.Public())

		loose := one.Bytes()
		loose[0] |= 7
		loose[31] |= 0x80
		identify(key.PrivateFrom(loose))
		expect("the same key, not clamped", one.Public(), two.Public())

		for _, list := range []string{
			"0.0.0.0/0,10.0.0.0/8,100.0.0.0/10,172.16.0.0/12,192.168.0.0/16", "0.0.0.0/0",
			"::/0,1700::/111,5000::/4,e000::/37,9000::/75", "::/0",
		} {
			peer.ReplaceAllowedIPs, peer.AllowedIPs = true, parsePrefixes(list)
			changePeer(t, n, peer)
			want := slices.SortedFunc(slices.Values(peer.AllowedIPs), netip.Prefix.Compare)
			if got := peerOf(t, n, two.Public()).AllowedIPs; !slices.Equal(got, want) {
				t.Errorf("AllowedIPs %v came out as %v", want, got)
			}
		}
	})
}

// TestNetns22LowOrder: peers whose public key has no order to speak of are
// sent nothing, ever; one with a sound key and the same endpoint is.
func TestNetns22LowOrder(t *testing.T) {
	t.Parallel()
	eachImplementation(t, func(t *testing.T, of implementation) {
		n, there := of.open(t, lone(t), nil), listenUDP(t, loopback4)
		defer there.Close()
		keepalive, endpoint := time.Second, addrOf(there)
		sound := newKey(t).Public()
		var c wireguard.Change
		for i, text := range append(lowOrder[:], sound.String()) {
			k, err := key.ParsePublic(text)
			if err != nil {
				t.Fatal(err)
			}
			c.Peers = append(c.Peers, wireguard.PeerChange{PeerChange: engine.PeerChange{
				PublicKey: k, Endpoint: &endpoint, Keepalive: &keepalive, AllowedIPs: []netip.Prefix{parsePrefix("10.9.0.%d/32", i)},
			}})
		}
		n.apply(t, c)
		for i := range lowOrder { // traffic is no reason either
			conn, err := n.DialContext(t.Context(), "udp", fmt.Sprintf("10.9.0.%d:1", i))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			say(t, conn, "hello")
		}
		expectSilence(t, n, there, sound)
	})
}

// expectSilence waits for the sound peer's first initiation, and as long again
// as a keepalive takes; nothing else may have come.
func expectSilence(t *testing.T, n node, there *net.UDPConn, sound key.Public) {
	t.Helper()
	read := func(patience time.Duration) (int, error) {
		if err := there.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		n, _, err := there.ReadFromUDPAddrPort(make([]byte, 1500))
		return n, err
	}
	if size, err := read(patience / 4); err != nil || size != 148 {
		t.Fatalf("%d bytes came (%v), want the sound peer's initiation", size, err)
	}
	if size, err := read(1100 * time.Millisecond); err == nil {
		t.Errorf("a second datagram came, of %d bytes", size)
	}
	for _, p := range n.snapshot(t).Peers {
		want := uint64(0)
		if p.PublicKey == sound {
			want = 148
		}
		if p.Sent != want || !p.LastHandshake.IsZero() {
			t.Errorf("%v was sent %d bytes, want %d", p.PublicKey, p.Sent, want)
		}
	}
}

// lowOrder are the points of the kernel's test.
var lowOrder = [...]string{
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
	"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
	"4Ot6fDtBuK4WVuP68Z/EatoJjeucMrH9hmIFFl9JuAA=",
	"X5yVvKNQjCSx0LFVnIPvWwREXMRYHI6G2CJO3dCfEVc=",
	"7P///////////////////////////////////////38=",
	"7f///////////////////////////////////////38=",
	"7v///////////////////////////////////////38=",
}
