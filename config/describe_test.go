package config

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// TestDescribeLong: a large configuration is told in a few lines. What is said
// of small ones is in testdata.
func TestDescribeLong(t *testing.T) {
	tunnel := Tunnel{Name: "big", PrivateKey: key.PrivateFrom([32]byte{1}), Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")}}
	for i := range 1000 {
		peer := Peer{PublicKey: key.PublicFrom([32]byte{9, byte(i), byte(i >> 8)}), Endpoint: "vpn.example.com:51820"}
		for n := range 9 {
			peer.AllowedIPs = append(peer.AllowedIPs, netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i >> 8), byte(i), byte(n)}), 32))
		}
		tunnel.Peers = append(tunnel.Peers, peer)
	}
	got := Describe(Config{Tunnels: []Tunnel{tunnel}})
	for _, want := range []string{
		"reaches 11.0.0.0/32, 11.0.0.1/32, 11.0.0.2/32, 11.0.0.3/32, 11.0.0.4/32, 11.0.0.5/32, 11.0.0.6/32, 11.0.0.7/32 and 1 more\n",
		"  and 992 more peers\n",
		"listeners: none\n",
		"encrypted UDP to vpn.example.com:51820\n",
		"is asked for vpn.example.com, to find that\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if n := strings.Count(got, "\n"); n > 20 {
		t.Errorf("%d lines", n)
	}
}

func TestDescribeNothing(t *testing.T) {
	const want = "listeners: none\noutside the tunnels: nothing\n"
	if got := Describe(Config{}); got != want {
		t.Errorf("got %q", got)
	}
}
