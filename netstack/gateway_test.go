package netstack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/forward"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// The tests of this file have package forward's policy on the flows, and
// targets on the host: the two packages know nothing of each other.

// policed returns a pair whose right side carries flows as g says.
func policed(t *testing.T, g *forward.Gateway) *pair {
	return newGateway(t, Options{Accept: func(ctx context.Context, f Flow) { g.Serve(ctx, f) }, Echo: g.Echo})
}

// all allows every port of networks.
func all(networks ...string) (rules []forward.Rule) {
	for _, n := range networks {
		rules = append(rules, forward.Rule{Network: netip.MustParsePrefix(n), FirstPort: 1, LastPort: 65535})
	}
	return rules
}

// standIn dials the loopback interface in the place of any address.
func standIn(ctx context.Context, network, address string) (net.Conn, error) {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, network, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), a.Port()).String())
}

// port is the port of an address.
func port(a net.Addr) uint16 { return netip.MustParseAddrPort(a.String()).Port() }

// TestGatewayCarriesTCP sends a stream each way, whose ends are passed on.
func TestGatewayCarriesTCP(t *testing.T) {
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	up, down := noise(1, 3<<20), noise(2, 2<<20)
	answered := make(chan error, 1)
	go func() {
		c, err := target.Accept()
		if err != nil {
			answered <- err
			return
		}
		defer c.Close()
		got := sha256.New()
		if _, err = io.Copy(got, c); err == nil { // until the peer has no more to say
			_, err = c.Write(down)
		}
		if want := sha256.Sum256(up); !bytes.Equal(got.Sum(nil), want[:]) {
			err = errors.Join(err, errors.New("the target received other data"))
		}
		answered <- err
	}()
	g := &forward.Gateway{Allow: all("192.0.2.0/24"), Dial: standIn}
	p := policed(t, g)
	r := <-p.dial(t.Context(), "tcp", netip.AddrPortFrom(foreign4, port(target.Addr())))
	if r.err != nil {
		t.Fatal(r.err)
	}
	defer r.conn.Close()
	c := r.conn.(*TCPConn)
	if _, err := c.Write(up); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, down) {
		t.Errorf("the peer received %d bytes, %v; want %d", len(got), err, len(down))
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
	c.Close()
	for g.Stats().Conns != 0 {
		time.Sleep(time.Millisecond)
	}
	if s := g.Stats(); s != (forward.GatewayStats{Up: int64(len(up)), Down: int64(len(down))}) {
		t.Errorf("stats are %+v", s)
	}
}

func TestGatewayCarriesUDP(t *testing.T) {
	target, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	g := &forward.Gateway{Allow: all("192.0.2.0/24"), Dial: standIn}
	p := policed(t, g)
	c := (<-p.dial(t.Context(), "udp", netip.AddrPortFrom(foreign4, port(target.LocalAddr())))).conn
	defer c.Close()
	buf := make([]byte, 65535)
	for i, size := range []int{3, 0, 9000, 1} {
		data := noise(uint64(i), size)
		if _, err := c.Write(data); err != nil {
			t.Fatal(err)
		}
		n, from, err := target.ReadFrom(buf)
		if err != nil || !bytes.Equal(buf[:n], data) {
			t.Fatalf("datagram %d: %d bytes, %v; want %d", i, n, err, size)
		}
		if _, err := target.WriteTo(data, from); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(buf); err != nil || !bytes.Equal(buf[:n], data) {
			t.Fatalf("answer %d: %d bytes, %v; want %d", i, n, err, size)
		}
	}
	if s := g.Stats(); s.Flows != 1 {
		t.Errorf("stats are %+v; want one flow", s)
	}
	// What the target's host says of a port that nobody has any more is for
	// the peer.
	target.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(buf); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the peer reads %v; want ECONNREFUSED", err)
	}
}

// TestN9 asks for what lies around the host that the gateway runs on.
func TestN9(t *testing.T) {
	g := &forward.Gateway{Allow: all("0.0.0.0/0", "::/0"), Dial: func(_ context.Context, network, address string) (net.Conn, error) {
		t.Errorf("%s %s was dialed", network, address)
		return nil, syscall.ECONNREFUSED
	}}
	p := policed(t, g)
	sent := p.fromRight.capture()
	for _, addr := range []string{
		"169.254.169.254", "169.254.0.1", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fe80::1",
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::1",
	} {
		dst := netip.MustParseAddr(addr)
		src := left4
		if dst.Is6() {
			src = left6
		}
		p.right.deliver([][]byte{tcpSegment(netip.AddrPortFrom(src, 9), netip.AddrPortFrom(dst, 80), header.TCPFlagSyn, 1, 0)})
		answer := <-sent
		if s := header.TCP(answer[ipHeader(answer):]); !isTCP(answer) || s.Flags() != header.TCPFlagRst|header.TCPFlagAck {
			t.Errorf("%s: the answer is % x; want a reset", addr, answer)
		}
		p.right.deliver([][]byte{udpPacket(src, dst, "x"), echoPacket(dst, []byte("x"))})
		for range 2 {
			if answer := <-sent; isTCP(answer) {
				t.Errorf("%s: the answer is % x; want an ICMP error", addr, answer)
			}
		}
	}
	// These get no answer at all.
	for _, addr := range []string{"127.0.0.1", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1", "::ffff:192.0.2.7", "224.0.0.1", "ff02::1"} {
		dst := netip.MustParseAddr(addr)
		src := left4
		if dst.Is6() {
			src = left6
		}
		p.right.deliver([][]byte{
			tcpSegment(netip.AddrPortFrom(src, 9), netip.AddrPortFrom(dst, 80), header.TCPFlagSyn, 1, 0),
			udpPacket(src, dst, "x"), echoPacket(dst, []byte("x")),
		})
	}
	p.settled()
}

// TestN10OfTheHost dials ports of the host that nobody listens on.
func TestN10OfTheHost(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	g := &forward.Gateway{Allow: all("192.0.2.0/24"), Dial: standIn}
	p := policed(t, g)
	answers := p.fromRight.segments(header.TCPFlagSyn | header.TCPFlagAck)
	r := <-p.dial(t.Context(), "tcp", netip.AddrPortFrom(foreign4, port(nobody.Addr())))
	if !errors.Is(r.err, syscall.ECONNREFUSED) {
		t.Errorf("the dial ended with %v; want ECONNREFUSED", r.err)
	}
	if n := answers(); n != 0 {
		t.Errorf("%d SYN-ACKs; want none", n)
	}
}

// TestF4 exposes a service of the host that is down, then up.
func TestF4(t *testing.T) {
	p := newPair(t)
	ln, err := p.right.Listen(t.Context(), "tcp", netip.AddrPortFrom(right4, 8080).String())
	if err != nil {
		t.Fatal(err)
	}
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	down := true // changed while nobody dials
	f := &forward.Forward{Target: target.Addr().String(), Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if down {
			return nil, syscall.ECONNREFUSED
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Serve(ctx, ln) }()

	r := <-p.dial(t.Context(), "tcp", netip.AddrPortFrom(right4, 8080))
	if r.err == nil { // or the reset was there before the dial was over
		defer r.conn.Close()
		_, r.err = r.conn.Read(make([]byte, 1))
	}
	if !errors.Is(r.err, syscall.ECONNRESET) {
		t.Errorf("the peer of a service that is down sees %v; want ECONNRESET", r.err)
	}
	if r := <-p.dial(t.Context(), "tcp", netip.AddrPortFrom(right4, 8081)); !errors.Is(r.err, syscall.ECONNREFUSED) {
		t.Errorf("a port that is not exposed: %v; want ECONNREFUSED", r.err)
	}
	for f.Stats().Conns != 0 {
		time.Sleep(time.Millisecond)
	}
	down = false
	c := (<-p.dial(t.Context(), "tcp", netip.AddrPortFrom(right4, 8080))).conn
	defer c.Close()
	accepted, err := target.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	carries(t, c, accepted, 1)
	carries(t, accepted, c, 2)
	accepted.Close()
	c.Close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}
