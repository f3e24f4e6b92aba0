package config

import (
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// full is the configuration of full.toml in a copy of testdata.
func full(t *testing.T, dir string) Config {
	t.Helper()
	config, _, err := Read(filepath.Join(dir, "full.toml"))
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// TestDiff changes one thing at a time.
func TestDiff(t *testing.T) {
	keys := newKeyring(t)
	dir := filledCopy(t, keys)
	third := keys.private.Public()
	for _, test := range []struct {
		name   string
		change func(c *Config)
		want   string
	}{
		{"nothing", func(*Config) {}, "nothing changes"},
		{"order", func(c *Config) {
			c.Tunnels[0], c.Tunnels[1] = c.Tunnels[1], c.Tunnels[0]
			c.Proxies[0], c.Proxies[2] = c.Proxies[2], c.Proxies[0]
			peers := c.Tunnels[1].Peers
			peers[0], peers[1] = peers[1], peers[0]
		}, "nothing changes"},

		{"private key", func(c *Config) { c.Tunnels[0].PrivateKey = key.PrivateFrom([32]byte{1}) }, "tunnel work changes: private_key"},
		{"addresses", func(c *Config) { c.Tunnels[0].Addresses = c.Tunnels[0].Addresses[:1] }, "tunnel work changes: addresses"},
		{"dns and search", func(c *Config) { c.Tunnels[0].DNS, c.Tunnels[0].Search = nil, nil }, "tunnel work changes: dns, search"},
		{"mtu and port", func(c *Config) { c.Tunnels[0].MTU, c.Tunnels[0].ListenPort = 0, 0 }, "tunnel work changes: mtu, listen_port"},
		{"congestion control", func(c *Config) { c.Tunnels[0].CongestionControl = "reno" }, "tunnel work changes: congestion_control"},
		{"tunnel removed", func(c *Config) { c.Tunnels = c.Tunnels[:1] }, "tunnel abroad is removed"},
		{"tunnel added", func(c *Config) { c.Tunnels = append(c.Tunnels, Tunnel{Name: "new", PrivateKey: keys.private}) }, "tunnel new is added"},
		{"tunnel renamed", func(c *Config) { c.Tunnels[1].Name = "away" }, "tunnel abroad is removed\ntunnel away is added"},

		{"peer added", func(c *Config) {
			c.Tunnels[0].Peers = append(c.Tunnels[0].Peers, Peer{PublicKey: third, PresharedKey: keys.preshared})
		}, "tunnel work changes: peer THIRD is added"},
		{"peer removed", func(c *Config) { c.Tunnels[0].Peers = c.Tunnels[0].Peers[1:] }, "tunnel work changes: peer FIRST is removed"},
		{"peer's key", func(c *Config) { c.Tunnels[0].Peers[0].PublicKey = third }, "tunnel work changes: peer FIRST is removed, peer THIRD is added"},
		{"preshared key", func(c *Config) { c.Tunnels[0].Peers[0].PresharedKey = key.Preshared{} }, "tunnel work changes: peer FIRST changes (preshared_key)"},
		{"endpoint and keepalive", func(c *Config) {
			c.Tunnels[0].Peers[0].Endpoint = "192.0.2.1:1"
			c.Tunnels[0].Peers[0].PersistentKeepalive = time.Second
		}, "tunnel work changes: peer FIRST changes (endpoint, persistent_keepalive)"},
		{"allowed ips", func(c *Config) { c.Tunnels[0].Peers[1].AllowedIPs = nil }, "tunnel work changes: peer SECOND changes (allowed_ips)"},

		{"proxy removed", func(c *Config) { c.Proxies = c.Proxies[1:] }, "proxy 127.0.0.1:1080 is removed"},
		{"proxy moved", func(c *Config) { c.Proxies[0].Listen = netip.MustParseAddrPort("127.0.0.1:9") }, "proxy 127.0.0.1:1080 is removed\nproxy 127.0.0.1:9 is added"},
		{"proxy's tunnel", func(c *Config) { c.Proxies[0].Tunnel = "abroad" }, "proxy 127.0.0.1:1080 changes"},
		{"a password", func(c *Config) {
			users := Users{}
			for name, hash := range c.Proxies[2].Users {
				hash[31] ^= 1
				users[name] = hash
			}
			c.Proxies[2].Users = users
		}, "proxy 0.0.0.0:1082 changes"},
		{"forward's target", func(c *Config) { c.Forwards[0].Target = "db:1" }, "forward 127.0.0.1:5432 changes"},
		{"forward becomes proxy", func(c *Config) {
			c.Proxies = append(c.Proxies, Proxy{Listen: c.Forwards[0].Listen})
			c.Forwards = c.Forwards[1:]
		}, "proxy 127.0.0.1:5432 is added\nforward 127.0.0.1:5432 is removed"},
		{"no gateway", func(c *Config) { c.Gateway = nil }, "gateway of tunnel work is removed"},
		{"gateway's rules", func(c *Config) { c.Gateway.Allow = nil }, "gateway of tunnel work changes"},
	} {
		from, to := full(t, dir), full(t, dir)
		test.change(&to)
		d := Diff(from, to)
		got := strings.NewReplacer(keys.public.Short(), "FIRST", keys.public2.Short(), "SECOND", third.Short(), "THIRD").Replace(d.String())
		if got != test.want || d.IsZero() != (test.want == "nothing changes") {
			t.Errorf("%s:\ngot  %s\nwant %s", test.name, got, test.want)
		}
		keys.checkSecret(t, d.String())
	}
}

// TestDiffPoints: the difference has what is needed to act on it.
func TestDiffPoints(t *testing.T) {
	dir := filledCopy(t, newKeyring(t))
	from, to := full(t, dir), full(t, dir)
	to.Tunnels[0].Peers[1].Endpoint = "192.0.2.1:1"
	to.Proxies = to.Proxies[1:]
	to.Gateway = nil
	d := Diff(from, to)
	if len(d.Tunnels) != 1 || d.Tunnels[0].Old != &from.Tunnels[0] || d.Tunnels[0].New != &to.Tunnels[0] || d.Tunnels[0].PrivateKey {
		t.Fatalf("tunnels: %+v", d.Tunnels)
	}
	peers := d.Tunnels[0].Peers
	if len(peers) != 1 || peers[0].Old != &from.Tunnels[0].Peers[1] || peers[0].New != &to.Tunnels[0].Peers[1] || !peers[0].Endpoint || peers[0].AllowedIPs {
		t.Errorf("peers: %+v", peers)
	}
	if len(d.Proxies) != 1 || d.Proxies[0].Old != &from.Proxies[0] || d.Proxies[0].New != nil {
		t.Errorf("proxies: %+v", d.Proxies)
	}
	if d.Gateway == nil || d.Gateway.Old != from.Gateway || d.Gateway.New != nil {
		t.Errorf("gateway: %+v", d.Gateway)
	}
	added := Diff(Config{}, to)
	if len(added.Tunnels) != 2 || added.Tunnels[0].Old != nil || added.Tunnels[0].Peers != nil || len(added.Proxies) != 2 {
		t.Errorf("from nothing: %v", added)
	}
}

// TestDiffSeesEveryField empties each field of a configuration in turn, so that
// no new one is forgotten.
func TestDiffSeesEveryField(t *testing.T) {
	dir := filledCopy(t, newKeyring(t))
	from := full(t, dir)
	parts := func(c *Config) []reflect.Value {
		var all []reflect.Value
		for _, part := range []any{c, &c.Tunnels[0], &c.Tunnels[0].Peers[0], &c.Proxies[2], &c.Forwards[1], c.Gateway} {
			all = append(all, reflect.ValueOf(part).Elem())
		}
		return all
	}
	for i, part := range parts(&from) {
		for f := range part.NumField() {
			to := full(t, dir)
			field := parts(&to)[i].Field(f)
			if field.IsZero() {
				t.Errorf("%s.%s is empty in testdata/full.toml", part.Type(), part.Type().Field(f).Name)
			}
			field.SetZero()
			if Diff(from, to).IsZero() {
				t.Errorf("%s.%s can change unseen", part.Type(), part.Type().Field(f).Name)
			}
		}
	}
}
