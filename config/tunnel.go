// Package config turns configuration files into plain, checked values: begin
// with [Read], or with [Parse] for a text at hand, which take TOML and wg-quick
// files alike and give a [Config]. For a single tunnel without listeners there
// are [ReadWireGuard] and [ParseWireGuard]; package netstack takes the [Tunnel].
// [Describe] tells a person what a configuration does, and [Diff] a running
// program what another one changes.
//
// What it returns has passed every check that needs no network, so that the
// packages behind it need none of their own for what a person wrote. What it
// refuses is an [Error], which says where, why, and what would be right; what
// it accepts with a doubt comes with a [Warning].
//
// The text of neither holds a private or preshared key, a password or a part
// of one, whatever is wrong with the file, nor does a printed Config.
//
// Nothing runs here. The package reads the file that it is told to read and
// those that are named in it, opens no socket, resolves no name, and executes
// none of the commands that a wg-quick file may hold.
package config

import (
	"net/netip"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// Tunnel is one WireGuard interface with its peers. The functions of this
// package return only tunnels that fulfil what the comments of the fields say.
type Tunnel struct {
	// Name is the one that is given, or else the file's base name without
	// ".conf", as wg-quick(8) names the interface, or ".toml".
	Name string

	// PrivateKey is never zero.
	PrivateKey key.Private

	// Addresses are the tunnel's own, at least one, each only once, with the
	// length of the network that it is in; the bits behind that are kept.
	// None is an IPv4 address mapped into IPv6.
	Addresses []netip.Prefix

	// DNS are the name servers to ask through the tunnel.
	DNS []netip.Addr

	// Search are the domains to try for names that are not found as they are.
	Search []string

	// MTU is the size in bytes of the largest inner packet, 0 for the default.
	// With an IPv6 address it is at least 1280 (RFC 8200, section 5).
	MTU int

	// CongestionControl is what TCP connections in the tunnel use, "cubic" or
	// "reno"; "" chooses for each by its round trip.
	CongestionControl string

	// ListenPort is the UDP port of the outer socket, 0 for any.
	ListenPort uint16

	// Peers have different public keys, none of them the tunnel's own.
	Peers []Peer
}

// Peer is one remote end of a [Tunnel].
type Peer struct {
	// PublicKey is neither zero nor of low order.
	PublicKey key.Public

	// PresharedKey is zero for none.
	PresharedKey key.Preshared

	// Endpoint is "address:port" or "name:port", with brackets around an IPv6
	// address, a port that is not 0, and the name as it was written; "" when
	// only the peer can begin.
	Endpoint string

	// AllowedIPs are the networks behind the peer, with no bit set behind their
	// length. No network is in the lists of two peers, or twice in one, but
	// one may lie within another: the longest prefix wins.
	AllowedIPs []netip.Prefix

	// PersistentKeepalive is whole seconds, 0 for none, at most 65,535.
	PersistentKeepalive time.Duration
}
