package netstack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Addresses that neither side has: what the left one sends there is for the
// right one's flows.
var (
	foreign4 = netip.MustParseAddr("192.0.2.7")
	foreign6 = netip.MustParseAddr("2001:db8::7")
)

// newGateway returns a pair of which the right side is a gateway.
func newGateway(t testing.TB, o Options, options ...func(o *stack.Options)) *pair {
	p := &pair{left: &Net{}, right: &Net{}}
	p.right.flows = newFlows(p.right, o)
	p.fromLeft = newWire(t, wireguard.DefaultMTU, p.right.deliver)
	p.fromRight = newWire(t, wireguard.DefaultMTU, p.left.deliver)
	for _, side := range []struct {
		net       *Net
		wire      *wire
		addresses []netip.Addr
	}{{p.left, p.fromLeft, []netip.Addr{left4, left6}}, {p.right, p.fromRight, []netip.Addr{right4, right6}}} {
		so := stackOptions()
		for _, f := range options {
			f(&so)
		}
		var own []netip.Prefix
		for _, a := range side.addresses {
			own = append(own, netip.PrefixFrom(a, 24))
		}
		if err := side.net.start(side.wire, own, so); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { side.net.Close() })
	}
	return p
}

// handOver returns an Accept function, and where the test gets its flows. The
// function returns when the test is over.
func handOver(t testing.TB) (func(context.Context, Flow), <-chan Flow) {
	flows := make(chan Flow)
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	return func(ctx context.Context, f Flow) {
		select {
		case flows <- f:
		case <-ctx.Done():
			return
		}
		select {
		case <-over:
		case <-ctx.Done():
		}
	}, flows
}

// dialed is what came of a dial.
type dialed struct {
	conn net.Conn
	err  error
}

// dial dials from the left side, in a goroutine of its own.
func (p *pair) dial(ctx context.Context, network string, to netip.AddrPort) <-chan dialed {
	result := make(chan dialed, 1)
	go func() {
		c, err := p.left.DialContext(ctx, network, to.String())
		result <- dialed{c, err}
	}()
	return result
}

// segments counts TCP segments with the given flags that one side sends.
func (w *wire) segments(flags header.TCPFlags) (count func() int) {
	n := 0
	w.set(func() {
		w.edit = func(p []byte) []byte {
			if isTCP(p) && header.TCP(p[ipHeader(p):]).Flags()&flags == flags {
				n++
			}
			return p
		}
	})
	return func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return n
	}
}

// capture takes what a side sends off the wire.
func (w *wire) capture() <-chan []byte {
	packets := make(chan []byte, 100)
	w.set(func() {
		w.edit = func(p []byte) []byte {
			packets <- p
			return nil
		}
	})
	return packets
}

func ipHeader(p []byte) int {
	if header.IPVersion(p) == header.IPv6Version {
		return header.IPv6MinimumSize
	}
	return int(header.IPv4(p).HeaderLength())
}

func isTCP(p []byte) bool {
	if header.IPVersion(p) == header.IPv6Version {
		return p[6] == byte(header.TCPProtocolNumber)
	}
	return header.IPv4(p).TransportProtocol() == header.TCPProtocolNumber
}

// settled waits until no flow is pending. It fails by the test's own time-out.
func (p *pair) settled() {
	for p.right.Stats().FlowsPending != 0 {
		time.Sleep(time.Millisecond)
	}
}

func TestFlowTCP(t *testing.T) {
	for _, addr := range []netip.Addr{foreign4, foreign6} {
		t.Run(addr.String(), func(t *testing.T) {
			accept, flows := handOver(t)
			p := newGateway(t, Options{Accept: accept})
			answers := p.fromRight.segments(header.TCPFlagSyn | header.TCPFlagAck)
			to := netip.AddrPortFrom(addr, 443)
			result := p.dial(t.Context(), "tcp", to)
			f := <-flows
			if f.Network() != "tcp" || f.Destination() != to {
				t.Errorf("flow is %s to %v; want tcp to %v", f.Network(), f.Destination(), to)
			}
			if n := answers(); n != 0 {
				t.Errorf("%d SYN-ACKs before the flow was accepted", n)
			}
			here, err := f.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer here.Close()
			there := <-result
			if there.err != nil {
				t.Fatal(there.err)
			}
			defer there.conn.Close()
			if got, want := here.RemoteAddr().String(), there.conn.LocalAddr().String(); got != want || f.Source().String() != want {
				t.Errorf("the flow comes from %s, its connection from %s; the peer says %s", f.Source(), got, want)
			}
			if got := here.LocalAddr().String(); got != to.String() {
				t.Errorf("the connection's local address is %s, want %s", got, to)
			}
			if n := p.right.Stats().FlowsPending; n != 0 {
				t.Errorf("%d flows pending after the handshake", n)
			}
			carries(t, there.conn, here, 1)
			carries(t, here, there.conn, 2)
			if _, err := f.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept for the second time: %v; want net.ErrClosed", err)
			}
			f.Refuse(nil)
			carries(t, here, there.conn, 3)
		})
	}
}

// carries sends a megabyte from one end to the other.
func carries(t *testing.T, from, to net.Conn, seed uint64) {
	t.Helper()
	data := noise(seed, 1<<20)
	sent := make(chan error, 1)
	go func() {
		_, err := from.Write(data)
		sent <- err
	}()
	got := make([]byte, len(data))
	if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("seed %d: received data differ, or %v", seed, err)
	}
	if err := <-sent; err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
}

// refusals are errors of dials on the host, and what the peer gets to see.
var refusals = []struct {
	err          error
	tcp          error // nil: nothing
	code4, code6 byte  // of ICMP's destination unreachable, for UDP
}{
	{nil, syscall.ECONNREFUSED, 3, 4},
	{errors.New("no reason"), syscall.ECONNREFUSED, 3, 4},
	{syscall.ECONNREFUSED, syscall.ECONNREFUSED, 3, 4},
	{syscall.EACCES, syscall.ECONNREFUSED, 3, 4},
	{syscall.EMFILE, syscall.ECONNREFUSED, 3, 4},
	{context.Canceled, syscall.ECONNREFUSED, 3, 4},
	{os.NewSyscallError("connect", syscall.EHOSTUNREACH), syscall.EHOSTUNREACH, 1, 3},
	{syscall.EHOSTDOWN, syscall.EHOSTUNREACH, 1, 3},
	{syscall.Errno(10065), syscall.EHOSTUNREACH, 1, 3}, // Windows
	{fmt.Errorf("dial: %w", syscall.ENETUNREACH), syscall.ENETUNREACH, 0, 0},
	{&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, nil, 0, 0},
	{context.DeadlineExceeded, nil, 0, 0},
	{syscall.ETIMEDOUT, nil, 0, 0},
}

// TestN10 has targets that refuse: the peer sees that as if it had reached
// them itself, and never a connection that is closed again.
func TestN10(t *testing.T) {
	for _, addr := range []netip.Addr{foreign4, foreign6} {
		for _, c := range refusals {
			t.Run(fmt.Sprintf("%v %v", addr, c.err), func(t *testing.T) {
				accept, flows := handOver(t)
				p := newGateway(t, Options{Accept: accept})
				answers := p.fromRight.segments(header.TCPFlagAck | header.TCPFlagSyn)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				result := p.dial(ctx, "tcp", netip.AddrPortFrom(addr, 443))
				f := <-flows
				before := p.right.Stats().TransmitPackets
				f.Refuse(c.err)
				if c.tcp == nil {
					if after := p.right.Stats().TransmitPackets; after != before {
						t.Errorf("%d packets were sent; want silence", after-before)
					}
					cancel()
				}
				got := <-result
				if want := c.tcp; want == nil && !errors.Is(got.err, context.Canceled) || want != nil && !errors.Is(got.err, want) {
					t.Errorf("the dial ended with %v; want %v", got.err, want)
				}
				if n := answers(); n != 0 {
					t.Errorf("%d SYN-ACKs for a connection that never was", n)
				}
				if _, err := f.Accept(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Accept after Refuse: %v; want net.ErrClosed", err)
				}
				if n := p.right.Stats().FlowsPending; n != 0 {
					t.Errorf("%d flows pending after the refusal", n)
				}
			})
		}
	}
}

// TestUndecidedFlowsAreRefused has an Accept that returns and did nothing.
func TestUndecidedFlowsAreRefused(t *testing.T) {
	p := newGateway(t, Options{Accept: func(context.Context, Flow) {}})
	if r := <-p.dial(t.Context(), "tcp", netip.AddrPortFrom(foreign4, 80)); !errors.Is(r.err, syscall.ECONNREFUSED) {
		t.Errorf("TCP: %v; want ECONNREFUSED", r.err)
	}
	c := (<-p.dial(t.Context(), "udp", netip.AddrPortFrom(foreign4, 80))).conn
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("UDP: %v; want ECONNREFUSED", err)
	}
}

// TestNoGateway is the default: what is not for us is dropped.
func TestNoGateway(t *testing.T) {
	p := newGateway(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	result := p.dial(ctx, "tcp", netip.AddrPortFrom(foreign4, 80))
	for p.right.Stats().DeliverPackets == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-result
	if n := p.right.Stats().TransmitPackets; n != 0 {
		t.Errorf("%d packets were sent in answer; want none", n)
	}
}

// TestListenersAreOurs has a listener on all addresses: these are all of ours,
// not all that a peer may ask for.
func TestListenersAreOurs(t *testing.T) {
	accept, flows := handOver(t)
	p := newGateway(t, Options{Accept: accept})
	l, err := p.right.Listen(t.Context(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := p.right.ListenPacket(t.Context(), "udp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for _, addr := range []netip.Addr{foreign4, foreign6} {
		to := netip.AddrPortFrom(addr, 80)
		result := p.dial(t.Context(), "tcp", to)
		if f := <-flows; f.Destination() != to {
			t.Errorf("flow to %v; want %v", f.Destination(), to)
		} else {
			f.Refuse(nil)
		}
		<-result
		c := (<-p.dial(t.Context(), "udp", to)).conn
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if f := <-flows; f.Network() != "udp" || f.Destination() != to {
			t.Errorf("flow %s to %v; want udp to %v", f.Network(), f.Destination(), to)
		} else {
			f.Refuse(nil)
		}
	}
	for _, own := range []netip.Addr{right4, right6} {
		r := <-p.dial(t.Context(), "tcp", netip.AddrPortFrom(own, 80))
		if r.err != nil {
			t.Fatal(r.err)
		}
		r.conn.Close()
		if r := <-p.dial(t.Context(), "tcp", netip.AddrPortFrom(own, 81)); !errors.Is(r.err, syscall.ECONNREFUSED) {
			t.Errorf("an own port without a listener: %v; want ECONNREFUSED", r.err)
		}
	}
	if n := p.right.Stats().FlowsOffered; n != 4 {
		t.Errorf("%d flows; want 4: what is for us is none", n)
	}
}

// TestDialsLeaveTheStack dials an address from the gateway that its peer has a
// flow to: it is not in this stack for that.
func TestDialsLeaveTheStack(t *testing.T) {
	accept, flows := handOver(t)
	p := newGateway(t, Options{Accept: accept})
	to := netip.AddrPortFrom(foreign4, 80)
	result := p.dial(t.Context(), "tcp", to)
	f := <-flows
	if _, err := f.Accept(); err != nil {
		t.Fatal(err)
	}
	defer (<-result).conn.Close()
	left := p.right.Stats().TransmitPackets
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for p.right.Stats().TransmitPackets == left && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if _, err := p.right.DialContext(ctx, "tcp", to.String()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v; want a SYN that leaves by the link and has no answer", err)
	}
}
