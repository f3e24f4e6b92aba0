package netstack

import (
	"errors"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// refusal is what a peer is told whose flow goes nowhere.
type refusal int

const (
	// refused: by the host that it is for, or in its place. A connection is
	// reset.
	refused refusal = iota
	// filtered: it is not allowed (RFC 1812, section 5.2.7.1).
	filtered
	hostUnreachable
	networkUnreachable
	// lost: it was on its way to one that does not answer.
	lost
)

// What Windows calls these errors: its own package syscall has invented
// numbers for them. No other system has errors with such numbers.
const (
	wsaENETDOWN     = syscall.Errno(10050)
	wsaENETUNREACH  = syscall.Errno(10051)
	wsaETIMEDOUT    = syscall.Errno(10060)
	wsaEHOSTDOWN    = syscall.Errno(10064)
	wsaEHOSTUNREACH = syscall.Errno(10065)
)

// refusalOf is what to tell for an error, as of a dial on the host.
func refusalOf(err error) refusal {
	is := func(causes ...syscall.Errno) bool {
		for _, cause := range causes {
			if errors.Is(err, cause) {
				return true
			}
		}
		return false
	}
	var timeout interface{ Timeout() bool }
	switch {
	case is(syscall.EHOSTUNREACH, syscall.EHOSTDOWN, wsaEHOSTUNREACH, wsaEHOSTDOWN):
		return hostUnreachable
	case is(syscall.ENETUNREACH, syscall.ENETDOWN, wsaENETUNREACH, wsaENETDOWN):
		return networkUnreachable
	case errors.As(err, &timeout) && timeout.Timeout(), is(wsaETIMEDOUT):
		return lost
	}
	return refused
}

// rejections are the ICMP errors for refusals. That a packet was lost has none.
var rejections = map[refusal]struct {
	v4 stack.RejectIPv4WithICMPType
	v6 stack.RejectIPv6WithICMPType
}{
	refused:            {stack.RejectIPv4WithICMPPortUnreachable, stack.RejectIPv6WithICMPPortUnreachable},
	filtered:           {stack.RejectIPv4WithICMPAdminProhibited, stack.RejectIPv6WithICMPAdminProhibited},
	hostUnreachable:    {stack.RejectIPv4WithICMPHostUnreachable, stack.RejectIPv6WithICMPAddrUnreachable},
	networkUnreachable: {stack.RejectIPv4WithICMPNetUnreachable, stack.RejectIPv6WithICMPNoRoute},
}

// reject answers a packet with an ICMP error. It is limited in its rate, as
// all such errors of a host (RFC 1812, section 4.3.2.8).
func (f *flows) reject(pkt *stack.PacketBuffer, r refusal) {
	kind, ok := rejections[r]
	if !ok {
		return
	}
	// An error means that there is no way back to the peer.
	if pkt.NetworkProtocolNumber == header.IPv4ProtocolNumber {
		_ = f.rejecter4.SendRejectionError(pkt, kind.v4, true)
	} else {
		_ = f.rejecter6.SendRejectionError(pkt, kind.v6, true)
	}
}
