package config

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// Difference is what turns one configuration into another. What it does not
// name can go on as it is. Its text names what changes and holds no secret.
type Difference struct {
	Tunnels  []TunnelChange
	Proxies  []Change[Proxy]   // By Listen: what serves it changes, the socket can stay.
	Forwards []Change[Forward] // Likewise.
	Gateway  *Change[Gateway]  // Nil when it stays as it is.
}

// Change is a part of a configuration that differs. Old is nil for one that is
// added, New for one that is removed.
type Change[T any] struct {
	Old, New *T
}

// TunnelChange is a tunnel that is added, removed, or differs from the one of
// the same name.
type TunnelChange struct {
	Change[Tunnel]

	// What differs, if there are both.
	PrivateKey, Addresses, DNS, Search, MTU, CongestionControl, ListenPort bool

	// Peers are those that are added, removed, or differ, if there are both.
	Peers []PeerChange
}

// PeerChange is a peer that is added, removed, or differs from the one with the
// same public key.
type PeerChange struct {
	Change[Peer]

	// What differs, if there are both.
	PresharedKey, Endpoint, AllowedIPs, PersistentKeepalive bool
}

// Diff is what turns the configuration from into the configuration to, which
// the difference points into. The order of the file does not count, but for
// that of lists.
func Diff(from, to Config) Difference {
	d := Difference{
		Proxies:  compareAll(from.Proxies, to.Proxies, proxyListen, sameProxy),
		Forwards: compareAll(from.Forwards, to.Forwards, forwardListen, sameForward),
	}
	for _, change := range compareAll(from.Tunnels, to.Tunnels, tunnelKey, sameTunnel) {
		d.Tunnels = append(d.Tunnels, compareTunnels(change))
	}
	if !sameGateway(from.Gateway, to.Gateway) {
		d.Gateway = &Change[Gateway]{Old: from.Gateway, New: to.Gateway}
	}
	return d
}

// IsZero reports whether nothing differs.
func (d Difference) IsZero() bool {
	return len(d.Tunnels) == 0 && len(d.Proxies) == 0 && len(d.Forwards) == 0 && d.Gateway == nil
}

// compareAll lists what differs: first what is removed, then the rest in the
// order of the new list. Nothing in a list has the key of another.
func compareAll[T any, K comparable](from, to []T, keyOf func(*T) K, same func(a, b *T) bool) (changes []Change[T]) {
	old := make(map[K]*T)
	for i := range from {
		old[keyOf(&from[i])] = &from[i]
	}
	kept := make(map[K]bool)
	for i := range to {
		k := keyOf(&to[i])
		kept[k] = true
		if was := old[k]; was == nil || !same(was, &to[i]) {
			changes = append(changes, Change[T]{Old: was, New: &to[i]})
		}
	}
	var removed []Change[T]
	for i := range from {
		if !kept[keyOf(&from[i])] {
			removed = append(removed, Change[T]{Old: &from[i]})
		}
	}
	return append(removed, changes...)
}

func tunnelKey(t *Tunnel) string              { return t.Name }
func peerKey(p *Peer) key.Public              { return p.PublicKey }
func proxyListen(p *Proxy) netip.AddrPort     { return p.Listen }
func forwardListen(f *Forward) netip.AddrPort { return f.Listen }

func sameTunnel(a, b *Tunnel) bool {
	return compareTunnels(Change[Tunnel]{Old: a, New: b}).parts() == nil
}

func samePeer(a, b *Peer) bool {
	return comparePeers(Change[Peer]{Old: a, New: b}).parts() == nil
}

func sameProxy(a, b *Proxy) bool {
	return a.Tunnel == b.Tunnel &&
		slices.Equal(a.Protocols, b.Protocols) &&
		maps.EqualFunc(a.Users, b.Users, PasswordHash.Equal) &&
		slices.Equal(a.AllowClients, b.AllowClients)
}

func sameForward(a, b *Forward) bool {
	return a.Target == b.Target && a.Tunnel == b.Tunnel && slices.Equal(a.AllowClients, b.AllowClients)
}

func sameGateway(a, b *Gateway) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Tunnel == b.Tunnel && slices.Equal(a.Allow, b.Allow)
}

func compareTunnels(c Change[Tunnel]) TunnelChange {
	t := TunnelChange{Change: c}
	if c.Old == nil || c.New == nil {
		return t
	}
	t.PrivateKey = !c.Old.PrivateKey.Equal(c.New.PrivateKey)
	t.Addresses = !slices.Equal(c.Old.Addresses, c.New.Addresses)
	t.DNS = !slices.Equal(c.Old.DNS, c.New.DNS)
	t.Search = !slices.Equal(c.Old.Search, c.New.Search)
	t.MTU = c.Old.MTU != c.New.MTU
	t.CongestionControl = c.Old.CongestionControl != c.New.CongestionControl
	t.ListenPort = c.Old.ListenPort != c.New.ListenPort
	for _, peer := range compareAll(c.Old.Peers, c.New.Peers, peerKey, samePeer) {
		t.Peers = append(t.Peers, comparePeers(peer))
	}
	return t
}

func comparePeers(c Change[Peer]) PeerChange {
	p := PeerChange{Change: c}
	if c.Old == nil || c.New == nil {
		return p
	}
	p.PresharedKey = !c.Old.PresharedKey.Equal(c.New.PresharedKey)
	p.Endpoint = c.Old.Endpoint != c.New.Endpoint
	p.AllowedIPs = !slices.Equal(c.Old.AllowedIPs, c.New.AllowedIPs)
	p.PersistentKeepalive = c.Old.PersistentKeepalive != c.New.PersistentKeepalive
	return p
}

// String is a line for each change, or "nothing changes".
func (d Difference) String() string {
	var lines []string
	for _, t := range d.Tunnels {
		lines = append(lines, t.String())
	}
	for _, p := range d.Proxies {
		lines = append(lines, "proxy "+p.sentence(func(p *Proxy) string { return p.Listen.String() }))
	}
	for _, f := range d.Forwards {
		lines = append(lines, "forward "+f.sentence(func(f *Forward) string { return f.Listen.String() }))
	}
	if d.Gateway != nil {
		lines = append(lines, "gateway "+d.Gateway.sentence(func(g *Gateway) string { return "of tunnel " + g.Tunnel }))
	}
	if len(lines) == 0 {
		return "nothing changes"
	}
	return strings.Join(lines, "\n")
}

// sentence is the name of what changes, and how.
func (c Change[T]) sentence(name func(*T) string) string {
	switch {
	case c.Old == nil:
		return name(c.New) + " is added"
	case c.New == nil:
		return name(c.Old) + " is removed"
	}
	return name(c.New) + " changes"
}

// String is one line without secrets.
func (t TunnelChange) String() string {
	s := "tunnel " + t.sentence(func(t *Tunnel) string { return t.Name })
	if parts := t.parts(); parts != nil {
		s += ": " + strings.Join(parts, ", ")
	}
	return s
}

// parts are the keys and peers that differ, in words of the file.
func (t TunnelChange) parts() []string {
	parts := which(
		part{t.PrivateKey, "private_key"}, part{t.Addresses, "addresses"}, part{t.DNS, "dns"},
		part{t.Search, "search"}, part{t.MTU, "mtu"}, part{t.CongestionControl, "congestion_control"},
		part{t.ListenPort, "listen_port"})
	for _, p := range t.Peers {
		parts = append(parts, p.String())
	}
	return parts
}

// String is a few words without secrets.
func (p PeerChange) String() string {
	s := "peer " + p.sentence(func(p *Peer) string { return p.PublicKey.Short() })
	if parts := p.parts(); parts != nil {
		s += " (" + strings.Join(parts, ", ") + ")"
	}
	return s
}

func (p PeerChange) parts() []string {
	return which(
		part{p.PresharedKey, "preshared_key"}, part{p.Endpoint, "endpoint"},
		part{p.AllowedIPs, "allowed_ips"}, part{p.PersistentKeepalive, "persistent_keepalive"})
}

type part struct {
	differs bool
	key     string
}

func which(parts ...part) (keys []string) {
	for _, p := range parts {
		if p.differs {
			keys = append(keys, p.key)
		}
	}
	return keys
}
