package netstack

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// TestN8 pings through a gateway.
func TestN8(t *testing.T) {
	for _, addr := range []netip.Addr{foreign4, foreign6} {
		p := newGateway(t, Options{
			Accept: func(context.Context, Flow) {},
			Echo: func(_ context.Context, source, destination netip.Addr, data []byte) error {
				if destination != addr || source != left4 && source != left6 || len(data) != pingNonce {
					t.Errorf("echo from %v to %v with %d bytes", source, destination, len(data))
				}
				return nil
			},
		})
		if _, err := p.left.Ping(t.Context(), addr); err != nil {
			t.Errorf("%v: %v; want an answer", addr, err)
		}
		p.settled()
		if n := p.right.Stats().EchoesOffered; n != 1 {
			t.Errorf("%v: %d echo requests were offered; want 1", addr, n)
		}
	}
}

// TestEchoRefused looks at what a request is answered with that goes nowhere.
func TestEchoRefused(t *testing.T) {
	for _, c := range []struct {
		err          error
		code4, code6 byte
		silent       bool
	}{
		{err: syscall.EACCES, code4: 13, code6: 1}, // prohibited
		{err: errors.New("no reason"), code4: 13, code6: 1},
		{err: syscall.EHOSTUNREACH, code4: 1, code6: 3},
		{err: syscall.ENETUNREACH, code4: 0, code6: 0},
		{err: context.DeadlineExceeded, silent: true},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			p := newGateway(t, Options{
				Accept: func(context.Context, Flow) {},
				Echo:   func(context.Context, netip.Addr, netip.Addr, []byte) error { return c.err },
			})
			answers := p.fromRight.capture()
			for _, addr := range []netip.Addr{foreign4, foreign6} {
				request := echoPacket(addr, []byte("data"))
				before := p.right.Stats().TransmitPackets
				p.right.deliver([][]byte{request})
				if c.silent {
					p.settled()
					if n := p.right.Stats().TransmitPackets - before; n != 0 {
						t.Errorf("%v: %d packets were sent; want silence", addr, n)
					}
					continue
				}
				kind, code := byte(header.ICMPv4DstUnreachable), c.code4
				if addr.Is6() {
					kind, code = byte(header.ICMPv6DstUnreachable), c.code6
				}
				answer := <-answers
				icmp := answer[ipHeader(answer):]
				if icmp[0] != kind || icmp[1] != code || !bytes.Equal(icmp[8:], request) {
					t.Errorf("%v: the answer has type %d and code %d and quotes % x; want %d, %d and the request", addr, icmp[0], icmp[1], icmp[8:], kind, code)
				}
			}
		})
	}
}

// echoPacket is an echo request of the left side, with a checksum that is right.
func echoPacket(dst netip.Addr, data []byte) []byte {
	request := append(echoRequest(dst)[:echoHeader], data...)
	if dst.Is4() {
		h := header.ICMPv4(request)
		h.SetIdent(7)
		h.SetChecksum(^checksum.Checksum(h, 0))
		return ipPacket(left4, dst, header.ICMPv4ProtocolNumber, request)
	}
	h := header.ICMPv6(request)
	h.SetIdent(7)
	h.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: h, Src: stackAddr(left6), Dst: stackAddr(dst)}))
	return ipPacket(left6, dst, header.ICMPv6ProtocolNumber, request)
}

// TestEchoMessages has messages that are echo requests and such that are none.
func TestEchoMessages(t *testing.T) {
	data := noise(1, 1000)
	good4, good6 := echoPacket(foreign4, data), echoPacket(foreign6, data)
	code := func(p []byte) {
		h := header.ICMPv4(p[20:])
		h.SetCode(1)
		h.SetChecksum(0)
		h.SetChecksum(^checksum.Checksum(h, 0))
	}
	reply := func(p []byte) {
		h := header.ICMPv4(p[20:])
		h.SetType(header.ICMPv4EchoReply)
		h.SetChecksum(0)
		h.SetChecksum(^checksum.Checksum(h, 0))
	}
	for _, c := range []struct {
		name    string
		packets [][]byte
		echo    bool // there is a function
		offered uint64
		sent    uint64
	}{
		{"IPv4", [][]byte{good4}, true, 1, 1},
		{"IPv6", [][]byte{good6}, true, 1, 1},
		{"fragments", fragments(good4, 504), true, 1, 1},
		{"no function", [][]byte{good4}, false, 0, 0},
		{"no function, IPv6", [][]byte{good6}, false, 0, 0},
		{"a wrong checksum", [][]byte{edited(good4, func(p []byte) { p[100] ^= 1 })}, true, 0, 0},
		{"a wrong checksum, IPv6", [][]byte{edited(good6, func(p []byte) { p[100] ^= 1 })}, true, 0, 0},
		{"a code", [][]byte{edited(good4, code)}, true, 0, 0},
		{"a reply", [][]byte{edited(good4, reply)}, true, 0, 0},
		{"a header cut short", [][]byte{ipPacket(left4, foreign4, header.ICMPv4ProtocolNumber, good4[20:27])}, true, 0, 0},
		{"to us", [][]byte{echoPacket(right4, data)}, true, 0, 1}, // the stack does it
		{"to us, IPv6", [][]byte{echoPacket(right6, data)}, true, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := Options{Accept: func(context.Context, Flow) {}}
			if c.echo {
				o.Echo = func(_ context.Context, _, _ netip.Addr, got []byte) error {
					if !bytes.Equal(got, data) {
						t.Errorf("the request has %d bytes of data, want those sent", len(got))
					}
					return nil
				}
			}
			p := newGateway(t, o)
			replies := p.fromRight.capture()
			p.right.deliver(c.packets)
			p.settled()
			p.right.Close() // sends what there is
			s := p.right.Stats()
			if s.EchoesOffered != c.offered || s.FlowsPending != 0 || s.TransmitPackets != c.sent {
				t.Fatalf("%d offered, %d pending, %d packets sent; want %d, 0, %d",
					s.EchoesOffered, s.FlowsPending, s.TransmitPackets, c.offered, c.sent)
			}
			if c.sent == 0 {
				return
			}
			select {
			case r := <-replies:
				if h := ipHeader(r); !bytes.Equal(r[h+echoHeader:], data) || !bytes.Equal(r[h+4:h+8], []byte{0, 7, 0, 1}) {
					t.Errorf("the reply has other data, identifier or number than the request: % x", r[:h+echoHeader])
				}
			case <-time.After(10 * time.Second):
				t.Error("the reply was never sent")
			}
		})
	}
}
