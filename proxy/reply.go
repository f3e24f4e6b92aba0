package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/things-go/go-socks5/statute"
)

// replyTo returns the reply code for an error of Dial, as Dial's comment lists them.
func replyTo(err error) byte {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns): // first: it may wrap the time-out of a query
		return statute.RepHostUnreachable
	case isAny(err, fs.ErrPermission):
		return statute.RepRuleFailure
	case isAny(err, syscall.ENETUNREACH, syscall.ENETDOWN):
		return statute.RepNetworkUnreachable
	case isAny(err, syscall.EHOSTUNREACH, syscall.EHOSTDOWN):
		return statute.RepHostUnreachable
	case isAny(err, syscall.ECONNREFUSED, syscall.ECONNRESET):
		return statute.RepConnectionRefused
	case isAny(err, syscall.ETIMEDOUT, context.DeadlineExceeded, os.ErrDeadlineExceeded):
		return statute.RepTTLExpired
	}
	return statute.RepServerFailure
}

func isAny(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// encodeReply returns a reply (RFC 1928, section 6). BND.ADDR is bound if that is a TCP address, else 0.0.0.0:0.
func encodeReply(code byte, bound net.Addr) []byte {
	addr := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	if tcp, ok := bound.(*net.TCPAddr); ok && tcp.AddrPort().IsValid() {
		addr = tcp.AddrPort()
	}
	ip := addr.Addr().Unmap()
	kind := statute.ATYPIPv4
	if ip.Is6() {
		kind = statute.ATYPIPv6
	}
	b := append([]byte{statute.VersionSocks5, code, 0, kind}, ip.AsSlice()...)
	return binary.BigEndian.AppendUint16(b, addr.Port())
}
