package config

import "net/netip"

// Config is a whole configuration. The functions of this package return only
// such as fulfil what the comments of the fields say. No two listeners have the
// same address and port.
type Config struct {
	// Tunnels are at least one, each with a name of its own, and no two with
	// the same ListenPort unless it is 0.
	Tunnels []Tunnel

	// Proxies and Forwards are the listeners, in the order of the file. A
	// wg-quick file has neither.
	Proxies  []Proxy
	Forwards []Forward

	// Gateway is nil for none.
	Gateway *Gateway
}

// Proxy is a listener whose clients say where they want to go.
type Proxy struct {
	// Listen is the address and TCP port on the host; port 0 is any free one.
	Listen netip.AddrPort

	// Tunnel is the name of one of the tunnels.
	Tunnel string

	// Protocols are what clients may speak on this port, at least one, in
	// alphabetical order.
	Protocols []Protocol

	// Users are those who may log in; nil when there is no login. If Listen is
	// not a loopback address, there are Users or AllowClients or both.
	Users Users

	// AllowClients are the networks that clients must come from; nil for any.
	// None has a bit set behind its length.
	AllowClients []netip.Prefix
}

// Protocol is what the client of a [Proxy] speaks.
type Protocol string

// The protocols, which can share a port.
const (
	SOCKS5 Protocol = "socks5" // RFC 1928.
	HTTP   Protocol = "http"   // CONNECT and absolute form: RFC 9110, section 9.3.6; RFC 9112, section 3.2.2.
)

// Forward is a TCP listener on the host that leads to one target behind a
// tunnel.
type Forward struct {
	// Listen is as in [Proxy].
	Listen netip.AddrPort

	// Target is "address:port" or "name:port", with brackets around an IPv6
	// address and a port that is not 0; the name is as it was written, to be
	// resolved in the tunnel.
	Target string

	// Tunnel is the name of one of the tunnels.
	Tunnel string

	// AllowClients is as in [Proxy]. If Listen is not a loopback address, there
	// are some.
	AllowClients []netip.Prefix
}

// Gateway lets the peers of a tunnel connect to the host's network.
type Gateway struct {
	// Tunnel is the name of one of the tunnels.
	Tunnel string

	// Allow is what peers may reach; what no rule allows is denied.
	Allow []Rule
}
