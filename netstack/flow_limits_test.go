package netstack

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard"
	"gvisor.dev/gvisor/pkg/tcpip/faketime"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// nth is the n-th of many pairs of addresses, and many of them have another
// source.
func nth(n int) (src, dst netip.AddrPort) {
	a, b := byte(n>>8), byte(n)
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(n % 7), a}), uint16(1024+n%60000)),
		netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, byte(n >> 16), a, b}), uint16(1+n%1000))
}

// TestN1 floods a gateway with SYNs of one peer, from many sources to many
// targets that do not answer.
func TestN1(t *testing.T) {
	const flood = 100_000
	release := make(chan struct{})
	p := newGateway(t, Options{Accept: func(context.Context, Flow) { <-release }})
	resets := p.fromRight.segments(header.TCPFlagRst)
	batch := make([][]byte, 0, 100)
	syns := func(from, to int) {
		for n := from; n < to; n++ {
			src, dst := nth(n)
			batch = append(batch, tcpSegment(src, dst, header.TCPFlagSyn, 1, 0))
			if len(batch) == cap(batch) {
				p.right.deliver(batch)
				batch = batch[:0]
			}
		}
	}
	syns(0, flood)
	s := p.right.Stats()
	if s.FlowsPending != maxPendingPerPeer || s.FlowsExcess != flood-maxPendingPerPeer {
		t.Errorf("%d flows pending and %d in excess; want %d and the rest of %d", s.FlowsPending, s.FlowsExcess, maxPendingPerPeer, flood)
	}
	if r := <-p.dial(t.Context(), "tcp", netip.AddrPortFrom(foreign4, 80)); !errors.Is(r.err, syscall.ECONNREFUSED) {
		t.Errorf("one more dial: %v; want ECONNREFUSED", r.err)
	}
	s = p.right.Stats()
	syns(0, maxPendingPerPeer/100*100) // once more the same
	if again := p.right.Stats(); again.FlowsPending != s.FlowsPending || again.FlowsExcess != s.FlowsExcess {
		t.Errorf("after duplicates, %d flows pending and %d in excess; want what it was", again.FlowsPending, again.FlowsExcess)
	}
	close(release)
	p.settled()
	syns(0, 100)
	p.settled()
	p.right.Close() // sends what there is
	s = p.right.Stats()
	if want := uint64(maxPendingPerPeer + 100); s.FlowsOffered != want {
		t.Errorf("%d flows were offered; want %d: no place was lost", s.FlowsOffered, want)
	}
	for resets() != flood+100+1 {
		time.Sleep(time.Millisecond) // until the wire has it
	}
}

// routed is a wire that knows of several peers.
type routed struct {
	*wire
	routes map[netip.Addr]wireguard.Route
}

func (r *routed) Route(dst netip.Addr) (wireguard.Route, error) { return r.routes[dst], nil }

// TestN1PerPeer has one peer that takes all places it can get, from as many
// addresses as it likes: another still gets its own.
func TestN1PerPeer(t *testing.T) {
	release := make(chan struct{})
	p := newGateway(t, Options{Accept: func(context.Context, Flow) { <-release }})
	t.Cleanup(func() { close(release) })
	addrs := []netip.Addr{netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("10.2.0.1")}
	peers := routes(t, 2)
	p.right.nic.link = &routed{p.fromRight, map[netip.Addr]wireguard.Route{
		addrs[0]: peers[0], addrs[1]: peers[0], addrs[2]: peers[1],
	}}
	send := func(from netip.Addr, n int) {
		for i := range n {
			src, to := netip.AddrPortFrom(from, uint16(1024+i)), netip.AddrPortFrom(foreign4, 80)
			p.right.deliver([][]byte{tcpSegment(src, to, header.TCPFlagSyn, 1, 0)})
		}
	}
	send(addrs[0], maxPendingPerPeer)
	for i, want := range []int{maxPendingPerPeer, maxPendingPerPeer, maxPendingPerPeer + 10} {
		send(addrs[i], 10)
		if n := p.right.Stats().FlowsPending; n != want {
			t.Errorf("after SYNs from %v, %d flows are pending; want %d", addrs[i], n, want)
		}
	}
}

// TestN1HalfOpen has a peer that sends SYNs and nothing else, to a gateway that
// accepts all of them.
func TestN1HalfOpen(t *testing.T) {
	clock := faketime.NewManualClock()
	errs := make(chan error)
	p := newGateway(t, Options{Accept: func(_ context.Context, f Flow) {
		_, err := f.Accept()
		errs <- err
	}}, func(o *stack.Options) { o.Clock = clock })
	sent := p.fromRight.segments(header.TCPFlagSyn | header.TCPFlagAck)
	for range 2 { // the second time with the same ports
		before := sent()
		for n := range maxPendingPerPeer + 100 {
			src, dst := nth(n)
			p.right.deliver([][]byte{tcpSegment(src, dst, header.TCPFlagSyn, 1, 0)})
		}
		for sent() < before+maxPendingPerPeer {
			time.Sleep(time.Millisecond)
		}
		clock.Advance(acceptTimeout)
		for range maxPendingPerPeer {
			if err := <-errs; !errors.Is(err, syscall.ETIMEDOUT) {
				t.Fatalf("Accept: %v; want ETIMEDOUT", err)
			}
		}
		p.settled()
	}
	if n := len(p.right.flows.stack.RegisteredEndpoints()); n != 0 {
		t.Errorf("%d endpoints are left", n)
	}
}

// TestNobodysAddresses has packets to addresses that no flow can have.
func TestNobodysAddresses(t *testing.T) {
	p := newGateway(t, Options{
		Accept: func(_ context.Context, f Flow) { t.Errorf("a flow to %v", f.Destination()) },
		Echo: func(_ context.Context, _, a netip.Addr, _ []byte) error {
			t.Errorf("an echo request to %v", a)
			return nil
		},
	})
	for _, addr := range []string{
		"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1", "::ffff:192.0.2.7", "::ffff:127.0.0.1",
		right4.String(), right6.String(),
	} {
		dst := netip.MustParseAddr(addr)
		src := left4
		if dst.Is6() {
			src = left6
		}
		p.right.deliver([][]byte{
			tcpSegment(netip.AddrPortFrom(src, 1), netip.AddrPortFrom(dst, 80), header.TCPFlagSyn, 1, 0),
			udpPacket(src, dst, "x"), echoPacket(dst, []byte("x")),
		})
	}
	p.settled()
}

// TestN3 has some targets that do not answer, while others do.
func TestN3(t *testing.T) {
	hole := netip.AddrPortFrom(foreign4, 9)
	p := newGateway(t, Options{Accept: func(ctx context.Context, f Flow) {
		if f.Destination() == hole {
			<-ctx.Done()
			return
		}
		if c, err := f.Accept(); err == nil {
			c.Close()
		}
	}})
	for i := range 200 {
		src := netip.AddrPortFrom(netip.MustParseAddr("10.9.0.1"), uint16(1024+i))
		p.right.deliver([][]byte{tcpSegment(src, hole, header.TCPFlagSyn, 1, 0)})
	}
	for range 200 {
		if r := <-p.dial(t.Context(), "tcp", netip.AddrPortFrom(foreign4, 80)); r.err != nil {
			t.Fatal(r.err)
		} else {
			r.conn.Close()
		}
	}
	for p.right.Stats().FlowsPending != 200 {
		time.Sleep(time.Millisecond)
	}
}

// TestN12 closes gateways in the middle of all that flows can be doing.
func TestN12(t *testing.T) {
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, 0))
	for round := range 60 {
		t.Run(fmt.Sprintf("seed %d round %d", seed, round), func(t *testing.T) {
			p := newGateway(t, Options{
				Accept: func(ctx context.Context, f Flow) {
					switch f.Destination().Port() {
					case 1:
						<-ctx.Done()
						return
					case 2:
						<-ctx.Done() // Accept comes while all is being torn down
					}
					c, err := f.Accept()
					if err != nil {
						if !errors.Is(err, net.ErrClosed) {
							t.Errorf("Accept: %v", err)
						}
						return
					}
					defer c.Close()
					b := make([]byte, 64<<10)
					for err == nil { // until the tunnel or the peer ends
						_, err = c.Write(b[:1000])
					}
				},
				Echo: func(context.Context, netip.Addr, netip.Addr, []byte) error { return nil },
			})
			ctx, cancel := context.WithCancel(t.Context())
			var peers sync.WaitGroup
			for _, port := range []uint16{1, 2, 3, 4} {
				for _, network := range []string{"tcp", "udp"} {
					for _, addr := range []netip.Addr{foreign4, foreign6} {
						peers.Go(func() {
							r := <-p.dial(ctx, network, netip.AddrPortFrom(addr, port))
							if r.err != nil {
								return
							}
							if c, ok := r.conn.(*TCPConn); ok {
								c.SetLinger(0) // or Close gives it time: the other end may be gone
							}
							defer r.conn.Close()
							defer context.AfterFunc(ctx, func() { r.conn.Close() })()
							_, _ = r.conn.Write([]byte("x"))
							for err := error(nil); err == nil; {
								_, err = r.conn.Read(make([]byte, 2000))
							}
						})
					}
				}
			}
			peers.Go(func() { _, _ = p.left.Ping(ctx, foreign4) })
			time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond) // any time will do
			if round%2 == 0 {
				p.fromLeft.swallow() // some handshakes are never completed
			}
			p.right.Close()
			if n := p.right.Stats().FlowsPending; n != 0 {
				t.Errorf("%d flows pending after Close", n)
			}
			cancel()
			peers.Wait()
		})
	}
}
