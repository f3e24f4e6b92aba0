package interop

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/netstack"
	"github.com/wimble-proxy/wimble/wireguard"
	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// node is one end of a tunnel with its engine. Either engine is configured,
// and says what it sees, in the words of ours.
type node interface {
	end
	port(t testing.TB) uint16
	// apply changes the configuration.
	apply(t testing.TB, c wireguard.Change)
	// snapshot is what the engine says of itself.
	snapshot(t testing.TB) engine.Snapshot
}

// implementation is an engine to test with.
type implementation struct {
	name string
	open func(t testing.TB, c config.Tunnel, sockets listenPacket) node
}

var (
	wimble      = implementation{"wimble", openNode}
	wireguardGo = implementation{"wireguard-go", openForeignNode}
)

// eachImplementation runs a test of one node with either engine.
func eachImplementation(t *testing.T, test func(t *testing.T, of implementation)) {
	for _, of := range []implementation{wimble, wireguardGo} {
		t.Run(of.name, func(t *testing.T) {
			t.Parallel()
			test(t, of)
		})
	}
}

// eachPair runs a test of two nodes with each pair of engines that one of ours
// is in. The first node is the one that initiates.
func eachPair(t *testing.T, test func(t *testing.T, from, to implementation)) {
	for _, pair := range [][2]implementation{{wimble, wimble}, {wimble, wireguardGo}, {wireguardGo, wimble}} {
		t.Run(pair[0].name+" to "+pair[1].name, func(t *testing.T) {
			t.Parallel()
			test(t, pair[0], pair[1])
		})
	}
}

// ours is a node of our engine.
type ours struct{ *netstack.Net }

func openNode(t testing.TB, c config.Tunnel, sockets listenPacket) node {
	t.Helper()
	n, err := netstack.Open(t.Context(), c, netstack.Options{ListenPacket: sockets})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return ours{n}
}

func (o ours) port(testing.TB) uint16 { return o.Device().ListenPort() }

func (o ours) apply(t testing.TB, c wireguard.Change) {
	t.Helper()
	if err := o.Device().Apply(c); err != nil {
		t.Fatal(err)
	}
}

func (o ours) snapshot(testing.TB) engine.Snapshot { return o.Device().Snapshot() }

func openForeignNode(t testing.TB, c config.Tunnel, sockets listenPacket) node {
	t.Helper()
	if sockets == nil {
		return openForeign(t, c)
	}
	return openForeignOn(t, c, &bind{listen: sockets})
}

var _ conn.Bind = (*bind)(nil)

func (f *foreign) apply(t testing.TB, c wireguard.Change) {
	t.Helper()
	if err := f.device.IpcSet(uapiChange(c)); err != nil {
		t.Fatal(err)
	}
}

// uapiChange is a change in the words of the userspace protocol.
func uapiChange(c wireguard.Change) string {
	var b strings.Builder
	line := func(name string, value any) { fmt.Fprintf(&b, "%s=%v\n", name, value) }
	secret := func(name string, k [32]byte) { line(name, hex.EncodeToString(k[:])) }
	when := func(name string, is bool) {
		if is {
			line(name, true)
		}
	}
	if c.PrivateKey != nil {
		secret("private_key", c.PrivateKey.Bytes())
	}
	if c.ListenPort != nil {
		line("listen_port", *c.ListenPort)
	}
	when("replace_peers", c.ReplacePeers)
	for i := range c.Peers {
		p := &c.Peers[i]
		secret("public_key", p.PublicKey.Bytes())
		when("remove", p.Remove)
		when("update_only", p.UpdateOnly)
		if p.PresharedKey != nil {
			secret("preshared_key", p.PresharedKey.Bytes())
		}
		if p.Endpoint != nil {
			line("endpoint", *p.Endpoint)
		}
		if p.Keepalive != nil {
			line("persistent_keepalive_interval", int(p.Keepalive.Seconds()))
		}
		when("replace_allowed_ips", p.ReplaceAllowedIPs)
		for _, prefix := range p.RemoveAllowedIPs {
			line("allowed_ip", "-"+prefix.String())
		}
		for _, prefix := range p.AllowedIPs {
			line("allowed_ip", prefix)
		}
	}
	return b.String()
}

// snapshot reads all that wireguard-go says.
func (f *foreign) snapshot(t testing.TB) engine.Snapshot {
	t.Helper()
	text, err := f.device.IpcGet()
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseUAPI(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parseUAPI(text string) (s engine.Snapshot, err error) {
	var p *engine.PeerSnapshot
	var sec, nsec int64
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "private_key":
			var private key.Private
			private, err = parseHexKey(value, key.PrivateFrom)
			s.PublicKey = private.Public()
		case "public_key":
			s.Peers = append(s.Peers, engine.PeerSnapshot{})
			p = &s.Peers[len(s.Peers)-1]
			p.PublicKey, err = parseHexKey(value, key.PublicFrom)
		case "preshared_key":
			var psk key.Preshared
			psk, err = parseHexKey(value, key.PresharedFrom)
			p.HasPreshared = !psk.IsZero()
		case "endpoint":
			p.Endpoint, err = netip.ParseAddrPort(value)
		case "allowed_ip":
			var prefix netip.Prefix
			prefix, err = netip.ParsePrefix(value)
			p.AllowedIPs = append(p.AllowedIPs, prefix)
		case "persistent_keepalive_interval":
			var seconds int64
			_, err = fmt.Sscan(value, &seconds)
			p.Keepalive = time.Duration(seconds) * time.Second
		case "last_handshake_time_sec":
			_, err = fmt.Sscan(value, &sec)
		case "last_handshake_time_nsec":
			_, err = fmt.Sscan(value, &nsec)
			if sec != 0 {
				p.LastHandshake = time.Unix(sec, nsec)
			}
		case "rx_bytes":
			_, err = fmt.Sscan(value, &p.Received)
		case "tx_bytes":
			_, err = fmt.Sscan(value, &p.Sent)
		}
		if err != nil {
			return s, fmt.Errorf("%s: %w", name, err)
		}
	}
	for i := range s.Peers {
		slices.SortFunc(s.Peers[i].AllowedIPs, netip.Prefix.Compare)
	}
	slices.SortFunc(s.Peers, func(a, b engine.PeerSnapshot) int {
		return strings.Compare(a.PublicKey.String(), b.PublicKey.String())
	})
	return s, nil
}

func parseHexKey[K any](s string, from func([32]byte) K) (k K, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 {
		return k, fmt.Errorf("%d hexadecimal digits are no key", len(s))
	}
	return from([32]byte(b)), nil
}

// peerOf is what n says of one peer.
func peerOf(t testing.TB, n node, k key.Public) engine.PeerSnapshot {
	t.Helper()
	p := onePeer(n.snapshot(t), k)
	if p.PublicKey != k {
		t.Fatalf("there is no peer %v", k)
	}
	return p
}

// changePeer changes one peer of n.
func changePeer(t testing.TB, n node, c engine.PeerChange) {
	t.Helper()
	n.apply(t, wireguard.Change{Peers: []wireguard.PeerChange{{PeerChange: c}}})
}

// couple is two nodes that know each other's keys. from knows the endpoint of
// to, which learns the other one.
type couple struct {
	from, to       node
	fromKey, toKey key.Public
}

// Their addresses inside.
var fromInside, toInside = oursInside, theirsInside

// minMTUOfIPv6 is RFC 8200's. A tunnel with a smaller one has no IPv6 inside.
const minMTUOfIPv6 = 1280

// union is what may be special about a couple.
type union struct {
	outer netip.Addr // of both; IPv4 loopback if not valid
	mtu   int        // from's
	toMTU int
	// through returns the endpoint that from is given instead of to's own.
	through func(to netip.AddrPort) netip.AddrPort
	// keepalive is from's persistent keepalive.
	keepalive time.Duration
	// fromSockets and toSockets are not the host's, if not nil.
	fromSockets, toSockets listenPacket
}

func unite(t *testing.T, from, to implementation, u union) *couple {
	t.Helper()
	if !u.outer.IsValid() {
		u.outer = loopback4
	}
	fromConfig, toConfig := configure(t, true)
	fromConfig.MTU, toConfig.MTU = u.mtu, u.toMTU
	for _, c := range []*config.Tunnel{&fromConfig, &toConfig} {
		if c.MTU != 0 && c.MTU < minMTUOfIPv6 {
			c.Addresses = c.Addresses[:1]
		}
	}
	c := &couple{fromKey: fromConfig.PrivateKey.Public(), toKey: toConfig.PrivateKey.Public()}
	c.to = to.open(t, toConfig, u.toSockets)
	endpoint := netip.AddrPortFrom(u.outer, c.to.port(t))
	if u.through != nil {
		endpoint = u.through(endpoint)
	}
	fromConfig.Peers[0].Endpoint = endpoint.String()
	fromConfig.Peers[0].PersistentKeepalive = u.keepalive
	c.from = from.open(t, fromConfig, u.fromSockets)
	return c
}

// pingWithin pings once and fails if there is no answer in time.
func pingWithin(t *testing.T, from end, dst netip.Addr, limit time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if _, err := from.Ping(ctx, dst); err != nil {
		t.Fatalf("ping %v: %v", dst, err)
	}
}
