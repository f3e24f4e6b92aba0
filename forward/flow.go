package forward

import (
	"net"
	"net/netip"
)

// Flow is what a peer of a tunnel asks a gateway for: a TCP connection, or datagrams between two UDP ports. The peer is
// not answered before the flow is accepted or refused. netstack has it.
type Flow interface {
	// Network is tcp or udp.
	Network() string
	// Source is where the peer sends from.
	Source() netip.AddrPort
	// Destination is where it wants to get to.
	Destination() netip.AddrPort
	// Accept answers the peer that there is a way, and returns this end of it; for udp a connection that keeps the bounds
	// of datagrams.
	Accept() (net.Conn, error)
	// Refuse answers that there is none, in the way that err tells. A flow of udp can be refused after Accept too.
	Refuse(err error)
}
