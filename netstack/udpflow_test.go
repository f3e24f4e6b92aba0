package netstack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

func TestFlowUDP(t *testing.T) {
	for _, addr := range []netip.Addr{foreign4, foreign6} {
		t.Run(addr.String(), func(t *testing.T) {
			accept, flows := handOver(t)
			p := newGateway(t, Options{Accept: accept})
			to := netip.AddrPortFrom(addr, 53)
			there := (<-p.dial(t.Context(), "udp", to)).conn
			defer there.Close()
			// All that comes before the decision is kept, in order: also what
			// the stack has to put together again.
			sizes := []int{5, 0, 1392, 9000, 1}
			for i, n := range sizes {
				if _, err := there.Write(noise(uint64(i), n)); err != nil {
					t.Fatal(err)
				}
			}
			f := <-flows
			if f.Network() != "udp" || f.Destination() != to || f.Source().String() != there.LocalAddr().String() {
				t.Errorf("flow is %s from %v to %v; want udp from %v to %v", f.Network(), f.Source(), f.Destination(), there.LocalAddr(), to)
			}
			here, err := f.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer here.Close()
			buf := make([]byte, 65535)
			for i, size := range sizes {
				if err := here.(*UDPConn).WaitReadable(); err != nil {
					t.Fatal(err)
				}
				n, err := here.Read(buf)
				if err != nil || !bytes.Equal(buf[:n], noise(uint64(i), size)) {
					t.Fatalf("datagram %d: %d bytes, %v; want %d bytes as sent", i, n, err, size)
				}
				if _, err := here.Write(buf[:n]); err != nil {
					t.Fatal(err)
				}
				if n, err = there.Read(buf); err != nil || !bytes.Equal(buf[:n], noise(uint64(i), size)) {
					t.Fatalf("answer %d: %d bytes, %v; want %d bytes as sent", i, n, err, size)
				}
			}
			if s := p.right.Stats(); s.FlowsOffered != 1 || s.FlowsPending != 0 {
				t.Errorf("%d flows were offered and %d are pending; want 1 and 0", s.FlowsOffered, s.FlowsPending)
			}
			if _, err := f.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept for the second time: %v; want net.ErrClosed", err)
			}
		})
	}
}

func TestFlowUDPRefused(t *testing.T) {
	for _, c := range refusals {
		for _, accepted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v %v", c.err, accepted), func(t *testing.T) {
				accept, flows := handOver(t)
				p := newGateway(t, Options{Accept: accept})
				answers := p.fromRight.capture()
				for _, packet := range [][]byte{udpPacket(left4, foreign4, "x"), udpPacket(left6, foreign6, "x")} {
					p.right.deliver([][]byte{packet})
					f := <-flows
					var conn net.Conn
					if accepted {
						var err error
						if conn, err = f.Accept(); err != nil {
							t.Fatal(err)
						}
					}
					f.Refuse(c.err)
					f.Refuse(c.err) // tells nothing more
					if conn != nil {
						if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
							t.Errorf("Read after Refuse: %v; want net.ErrClosed", err)
						}
					}
					if c.tcp == nil {
						continue
					}
					kind, code := byte(header.ICMPv4DstUnreachable), c.code4
					if f.Destination().Addr().Is6() {
						kind, code = byte(header.ICMPv6DstUnreachable), c.code6
					}
					answer := <-answers
					if icmp := answer[ipHeader(answer):]; icmp[0] != kind || icmp[1] != code || !bytes.Equal(icmp[8:], packet) {
						t.Errorf("the answer has type %d and code %d and quotes % x; want %d, %d and the datagram", icmp[0], icmp[1], icmp[8:], kind, code)
					}
				}
				p.right.Close() // sends what there is
				if s := p.right.Stats(); s.FlowsPending != 0 || c.tcp != nil && s.TransmitPackets != 2 || c.tcp == nil && s.TransmitPackets != 0 {
					t.Errorf("%d flows pending and %d packets sent; want 0, and one for each flow unless it is silent", s.FlowsPending, s.TransmitPackets)
				}
			})
		}
	}
}

// TestN11 floods a gateway with datagrams of many flows that nobody decides.
func TestN11(t *testing.T) {
	const flood = 20_000
	release := make(chan struct{})
	p := newGateway(t, Options{Accept: func(context.Context, Flow) { <-release }})
	p.fromRight.swallow()
	for n := range flood {
		src, dst := nth(n)
		p.right.deliver([][]byte{udpPacket(src.Addr(), dst.Addr(), "x")})
	}
	s := p.right.Stats()
	if s.FlowsPending != maxPendingPerPeer || s.FlowsExcess != flood-maxPendingPerPeer {
		t.Errorf("%d flows pending and %d in excess; want %d and the rest of %d", s.FlowsPending, s.FlowsExcess, maxPendingPerPeer, flood)
	}
	if n := len(p.right.flows.stack.RegisteredEndpoints()); n != maxPendingPerPeer {
		t.Errorf("%d endpoints; want %d", n, maxPendingPerPeer)
	}
	close(release)
	p.settled()
	for len(p.right.flows.stack.RegisteredEndpoints()) != 0 {
		time.Sleep(time.Millisecond)
	}
}
