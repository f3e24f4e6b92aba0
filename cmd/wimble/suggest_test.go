package main

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/wimble-proxy/wimble/config"
)

// TestSuggest: what is proposed to try is something that the tunnel carries.
func TestSuggest(t *testing.T) {
	for _, test := range []struct {
		reason, address, dns string
		networks             string
		target, remark       string
	}{
		{"a whole default route", "10.0.0.2/32", "10.0.0.1", "0.0.0.0/0 ::/0", "https://one.one.one.one/", ""},
		{"one in two halves", "10.0.0.2/32", "10.0.0.1", "0.0.0.0/1 128.0.0.0/1", "https://one.one.one.one/", ""},
		{"a default route of the other family", "fd00::2/128", "fd00::1", "::/0", "https://one.one.one.one/", ""},
		{"no name server", "10.0.0.2/32", "", "0.0.0.0/0", "https://1.1.1.1/", "names are refused, as the tunnel has no name server; add DNS in wg0.conf"},
		{"no name server, IPv6", "fd00::2/128", "", "::/0", "https://[2606:4700:4700::1111]/", "names are refused"},
		{"a name server of the family that is not there", "fd00::2/128", "10.0.0.1", "::/0", "https://[2606:4700:4700::1111]/", "names can't be looked up, as no peer has the name server 10.0.0.1 in its AllowedIPs; "},
		{"no IPv4 at this end", "fd00::2/128", "", "0.0.0.0/0", "http://ADDRESS/", "ADDRESS is one in 0.0.0.0/0; names"},
		{"no public networks", "10.0.0.2/32", "10.0.0.1", "10.0.0.0/8 fd00::/8", "http://HOST/", "HOST is a name, or an address in 10.0.0.0/8, fd00::/8"},
		{"a name server elsewhere", "10.0.0.2/32", "192.0.2.1", "10.0.0.0/8", "http://ADDRESS/", "ADDRESS is one in 10.0.0.0/8; names can't"},
		{"many", "10.0.0.2/32", "", "10.0.0.0/9 10.1.0.0/16 10.2.0.0/16 10.3.0.0/16", "http://ADDRESS/", "10.2.0.0/16, ...; "},
		{"none", "10.0.0.2/32", "", "", "http://ADDRESS/", "no peer has AllowedIPs"},
	} {
		tunnel := config.Tunnel{Addresses: []netip.Prefix{netip.MustParsePrefix(test.address)}}
		if test.dns != "" {
			tunnel.DNS = []netip.Addr{netip.MustParseAddr(test.dns)}
		}
		for _, network := range strings.Fields(test.networks) {
			tunnel.Peers = append(tunnel.Peers, config.Peer{AllowedIPs: []netip.Prefix{netip.MustParsePrefix(network)}})
		}
		target, remark := suggest(tunnel, "wg0.conf")
		if !strings.HasPrefix(target, test.target) || !strings.Contains(remark, test.remark) || (remark == "") != (test.remark == "") {
			t.Errorf("%s: got %q, %q, want %q, %q", test.reason, target, remark, test.target, test.remark)
		}
	}
}

// TestTry: the line to try works for whom it says.
func TestTry(t *testing.T) {
	both := []config.Protocol{config.HTTP, config.SOCKS5}
	networks := func(text string) (all []netip.Prefix) {
		for _, network := range strings.Fields(text) {
			all = append(all, netip.MustParsePrefix(network))
		}
		return all
	}
	for _, test := range []struct {
		listen, clients string
		protocols       []config.Protocol
		users           config.Users
		want            string
	}{
		{"127.0.0.1:0", "", both, nil, "try: curl -x socks5h://127.0.0.1:1080 T"},
		{"[::1]:0", "", both, nil, "try: curl -x socks5h://[::1]:1080 T"},
		{"127.0.0.1:0", "", both[:1], nil, "try: curl -x http://127.0.0.1:1080 T"},
		{"127.0.0.1:0", "", both[1:], nil, "try: curl -x socks5h://127.0.0.1:1080 T"},
		{"0.0.0.0:0", "", both, config.Users{"ann": {}}, "try: curl -x socks5h://NAME:PASSWORD@127.0.0.1:1080 T"},
		{"[::]:0", "fd00::/8 ::1/128", both, nil, "try: curl -x socks5h://[::1]:1080 T"},
		{"0.0.0.0:0", "172.17.0.0/16", both, nil, "try from 172.17.0.0/16: curl -x socks5h://THIS-HOST:1080 T"},
		{"172.17.0.1:0", "172.17.0.0/16", both, nil, "try: curl -x socks5h://172.17.0.1:1080 T"},
		{"172.17.0.1:0", "172.18.0.0/16", both, nil, "try from 172.18.0.0/16: curl -x socks5h://172.17.0.1:1080 T"},
	} {
		listen := netip.MustParseAddrPort(test.listen)
		p := config.Proxy{Listen: listen, Protocols: test.protocols, Users: test.users, AllowClients: networks(test.clients)}
		at := net.TCPAddrFromAddrPort(netip.AddrPortFrom(listen.Addr(), 1080))
		if got := try(p, at, "T"); got != test.want {
			t.Errorf("%s for %q: got %q, want %q", test.listen, test.clients, got, test.want)
		}
	}
}
