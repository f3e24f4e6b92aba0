package netstack

import (
	"bytes"
	"context"
	"crypto/rand"
	"net"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
)

// pingNonce is how many random bytes an echo request has to recognise its
// reply by.
const pingNonce = 16

// Ping sends one ICMP echo request and returns the time until its reply. It
// waits as long as the context lasts. Errors are as of DialContext.
func (n *Net) Ping(ctx context.Context, dst netip.Addr) (time.Duration, error) {
	dst = dst.Unmap()
	took, err := n.ping(ctx, dst)
	return took, opError("ping", "ip", nil, &net.IPAddr{IP: dst.AsSlice()}, err)
}

func (n *Net) ping(ctx context.Context, dst netip.Addr) (time.Duration, error) {
	if err := n.reach(dst); err != nil {
		return 0, err
	}
	transport := icmp.ProtocolNumber4
	if dst.Is6() {
		transport = icmp.ProtocolNumber6
	}
	var s socket
	err := n.open(&s, "ip", transport, protocolOf(dst), func(ep tcpip.Endpoint) tcpip.Error {
		return ep.Connect(fullAddr(netip.AddrPortFrom(dst, 0)))
	})
	if err != nil {
		return 0, err
	}
	defer s.ep.Close()

	request := echoRequest(dst)
	start := time.Now()
	if _, err := s.ep.Write(bytes.NewReader(request), tcpip.WriteOptions{}); err != nil {
		return 0, errno(err)
	}
	for {
		var reply bytes.Buffer
		_, err := s.ep.Read(&reply, tcpip.ReadOptions{})
		switch err.(type) {
		case nil:
			if bytes.HasSuffix(reply.Bytes(), request[len(request)-pingNonce:]) {
				return time.Since(start), nil
			}
			continue
		case *tcpip.ErrWouldBlock:
		default:
			return 0, n.unlessClosed(errno(err))
		}
		select {
		case <-s.wake.readable:
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-n.done:
			return 0, net.ErrClosed
		}
	}
}

// echoRequest is an echo request without identifier and checksum, which are
// the stack's. IPv4 and IPv6 lay it out alike (RFC 792; RFC 4443, section 4.1).
func echoRequest(dst netip.Addr) []byte {
	request := make([]byte, header.ICMPv4MinimumSize+pingNonce)
	request[0] = byte(header.ICMPv4Echo)
	if dst.Is6() {
		request[0] = byte(header.ICMPv6EchoRequest)
	}
	header.ICMPv4(request).SetSequence(1)
	_, _ = rand.Read(request[header.ICMPv4MinimumSize:]) // never fails
	return request
}
