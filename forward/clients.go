package forward

import (
	"net"
	"net/netip"
	"slices"
)

// Clients are the networks that clients may come from; nil means any. A loopback address is no exception and has to be
// among them to be allowed.
type Clients []netip.Prefix

// Allow reports whether a client may come from source, as [Source] tells it. A client without an address, that of a Unix
// socket, is the file system's to guard and always may.
func (c Clients) Allow(source netip.Addr) bool {
	return c == nil || !source.IsValid() ||
		slices.ContainsFunc(c, func(p netip.Prefix) bool { return p.Contains(source) })
}

// Source is the address that a connection comes from, without a zone; the zero Addr if it has none, as on a Unix socket.
func Source(c net.Conn) netip.Addr {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
