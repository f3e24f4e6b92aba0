package netstack

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard"
	"gvisor.dev/gvisor/pkg/tcpip/faketime"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

func TestDialErrors(t *testing.T) {
	p := newPair(t)
	p.fromLeft.set(func() {
		p.fromLeft.refuse[nobody4], p.fromLeft.refuse[nobody6] = wireguard.ErrNoPeer, wireguard.ErrNoEndpoint
	})
	for _, c := range []struct {
		network, address string
		want             []error // all of them
	}{
		{"tcp", "10.0.0.2:80", []error{syscall.ECONNREFUSED}},
		{"tcp", "[fd00::2]:80", []error{syscall.ECONNREFUSED}},
		{"tcp4", "10.0.0.2:80", []error{syscall.ECONNREFUSED}},
		{"tcp", "[::ffff:10.0.0.2]:80", []error{syscall.ECONNREFUSED}},
		{"tcp", "10.0.0.1:80", []error{syscall.ECONNREFUSED}}, // ourselves
		{"tcp", "10.0.0.99:80", []error{syscall.ENETUNREACH, wireguard.ErrNoPeer}},
		{"tcp", "[fd00::99]:80", []error{syscall.EHOSTUNREACH, wireguard.ErrNoEndpoint}},
		{"udp", "10.0.0.99:80", []error{syscall.ENETUNREACH, wireguard.ErrNoPeer}},
		{"udp", "[fd00::99]:80", []error{syscall.EHOSTUNREACH, wireguard.ErrNoEndpoint}},
		// These never leave a host, whatever a peer's AllowedIPs say.
		{"tcp", "127.0.0.1:80", []error{syscall.ENETUNREACH, wireguard.ErrNoPeer}},
		{"tcp", "[::1]:80", []error{syscall.ENETUNREACH, wireguard.ErrNoPeer}},
		{"udp", "0.0.0.0:80", []error{syscall.ENETUNREACH, wireguard.ErrNoPeer}},
	} {
		conn, err := p.left.DialContext(t.Context(), c.network, c.address)
		if conn != nil {
			t.Errorf("%s %s: a connection and %v", c.network, c.address, err)
		}
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "dial" || op.Net != c.network || op.Addr == nil {
			t.Errorf("%s %s: %#v; want an OpError", c.network, c.address, err)
		}
		for _, want := range c.want {
			if !errors.Is(err, want) {
				t.Errorf("%s %s: %v; want %v", c.network, c.address, err, want)
			}
		}
	}
}

func TestAddressesAreChecked(t *testing.T) {
	p := newPair(t)
	var addr *net.AddrError
	var network net.UnknownNetworkError
	for _, c := range []struct {
		network, address string
		as               any
		says             string
	}{
		{"tcp", "10.0.0.2:http", &addr, "port is not a number"},
		{"tcp", "10.0.0.2:", &addr, "port is not a number"},
		{"tcp", "10.0.0.2:65536", &addr, "port is not a number"},
		{"tcp", "10.0.0.2:-1", &addr, "port is not a number"},
		{"tcp", "10.0.0.2", &addr, "missing port"},
		{"tcp", "fd00::2:80", &addr, "too many colons"},
		{"tcp", "[fe80::1%eth0]:80", &addr, "zone"},
		{"tcp", ":80", &addr, "missing host"},
		{"tcp4", "[fd00::2]:80", &addr, "not an address for tcp4"},
		{"udp6", "10.0.0.2:80", &addr, "not an address for udp6"},
		{"unix", "/tmp/socket", &network, "unix"},
		{"", "10.0.0.2:80", &network, "unknown network"},
		{"ip", "10.0.0.2", &network, "ip"},
	} {
		_, err := p.left.DialContext(t.Context(), c.network, c.address)
		var op *net.OpError
		if !errors.As(err, &op) || !errors.As(err, c.as) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %q: %v; want an OpError around %T that says %q", c.network, c.address, err, c.as, c.says)
		}
		if c.says == "missing host" {
			continue // a listener needs none
		}
		if strings.HasPrefix(c.network, "udp") {
			_, err = p.left.ListenPacket(t.Context(), c.network, c.address)
		} else {
			_, err = p.left.Listen(t.Context(), c.network, c.address)
		}
		if !errors.As(err, c.as) {
			t.Errorf("listen %s %q: %v; want %T", c.network, c.address, err, c.as)
		}
	}
}

func TestListenErrors(t *testing.T) {
	p := newPair(t)
	l, err := p.left.Listen(t.Context(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx              context.Context
		network, address string
		want             error
	}{
		{t.Context(), "tcp", ":80", syscall.EADDRINUSE},
		{t.Context(), "tcp4", "10.0.0.1:80", syscall.EADDRINUSE},
		{t.Context(), "tcp", "10.0.0.2:81", syscall.EADDRNOTAVAIL},
		{t.Context(), "tcp", "[fd00::2]:81", syscall.EADDRNOTAVAIL},
		{canceled, "tcp", ":81", context.Canceled},
		{t.Context(), "udp", ":81", net.UnknownNetworkError("udp")},
	} {
		_, err := p.left.Listen(c.ctx, c.network, c.address)
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "listen" || !errors.Is(err, c.want) {
			t.Errorf("Listen %s %s: %v; want %v", c.network, c.address, err, c.want)
		}
	}
	if _, err := p.left.ListenPacket(t.Context(), "tcp", ":81"); !errors.Is(err, net.UnknownNetworkError("tcp")) {
		t.Errorf("ListenPacket tcp: %v", err)
	}
}

// A tunnel with one family has nothing to do with the other.
func TestMissingFamily(t *testing.T) {
	w := newWire(t, wireguard.DefaultMTU, nil)
	n := &Net{}
	if err := n.start(w, []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}, stackOptions()); err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := n.DialContext(t.Context(), "tcp", "[fd00::2]:80"); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("dial: %v; want ENETUNREACH", err)
	}
	if _, err := n.Ping(t.Context(), right6); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("ping: %v; want ENETUNREACH", err)
	}
	if _, err := n.Listen(t.Context(), "tcp", "[fd00::1]:80"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("listen: %v; want EADDRNOTAVAIL", err)
	}
	if _, err := n.Listen(t.Context(), "tcp6", ":80"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("listen: %v; want EADDRNOTAVAIL", err)
	}
	u, err := n.ListenPacket(t.Context(), "udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	_, err = u.WriteTo([]byte("x"), &net.UDPAddr{IP: right6.AsSlice(), Port: 53})
	if !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("datagram: %v; want ENETUNREACH", err)
	}
}

func TestListenerServesItsFamilies(t *testing.T) {
	for _, c := range []struct {
		network, address string
		v4, v6           bool
	}{
		{"tcp", ":80", true, true},
		{"tcp", "[::]:80", true, true},
		{"tcp", "0.0.0.0:80", true, false},
		{"tcp4", ":80", true, false},
		{"tcp6", ":80", false, true},
		{"tcp6", "[::]:80", false, true},
		{"tcp", "10.0.0.2:80", true, false},
		{"tcp", "[fd00::2]:80", false, true},
	} {
		p := newPair(t)
		l, err := p.right.Listen(t.Context(), c.network, c.address)
		if err != nil {
			t.Errorf("%s %s: %v", c.network, c.address, err)
			continue
		}
		for _, to := range []netip.Addr{right4, right6} {
			conn, err := p.left.DialContext(t.Context(), "tcp", netip.AddrPortFrom(to, 80).String())
			if want := to.Is4() && c.v4 || to.Is6() && c.v6; (err == nil) != want {
				t.Errorf("%s %s: dial %v: %v", c.network, c.address, to, err)
			}
			if err == nil {
				conn.Close()
			}
		}
		l.Close()
	}
}

// manualClock lets a pair's time pass only by Advance.
func manualClock() (*faketime.ManualClock, func(string, *stack.Options)) {
	clock := faketime.NewManualClock()
	return clock, func(_ string, o *stack.Options) { o.Clock = clock }
}

func TestDialTimesOut(t *testing.T) {
	clock, option := manualClock()
	p := newPair(t, option)
	p.fromLeft.swallow()
	ended := make(chan error, 1)
	go func() {
		_, err := p.left.DialContext(t.Context(), "tcp", "10.0.0.2:80")
		ended <- err
	}()
	var err error
	for err == nil {
		select {
		case err = <-ended:
		default:
			clock.Advance(time.Second)
		}
	}
	var op *net.OpError
	var call *os.SyscallError
	if !errors.Is(err, syscall.ETIMEDOUT) || !errors.As(err, &op) || !op.Timeout() || !errors.As(err, &call) || call.Syscall != "connect" {
		t.Errorf("dial without an answer: %#v; want ETIMEDOUT of connect", err)
	}
}

// A connection whose route goes away fails when it gives up, with the reason;
// one that only begins fails at once.
func TestRouteGoesAway(t *testing.T) {
	clock, option := manualClock()
	for _, c := range []struct {
		to    netip.Addr
		route error
		want  syscall.Errno
	}{
		{right4, wireguard.ErrNoPeer, syscall.ENETUNREACH},
		{right6, wireguard.ErrNoPeer, syscall.ENETUNREACH},
		{right4, wireguard.ErrNoEndpoint, syscall.EHOSTUNREACH},
		{right6, wireguard.ErrNoEndpoint, syscall.EHOSTUNREACH},
	} {
		p := newPair(t, option)
		dialed, _ := p.connect(t, c.to)
		// The first SYN is lost, so that the dial is under way.
		sent := make(chan struct{}, 9)
		p.fromLeft.set(func() {
			p.fromLeft.edit = func([]byte) []byte { sent <- struct{}{}; return nil }
		})
		ended := make(chan error, 2)
		go func() {
			_, err := p.left.DialContext(t.Context(), "tcp", netip.AddrPortFrom(c.to, 80).String())
			ended <- err
		}()
		<-sent
		p.fromLeft.set(func() { p.fromLeft.refuse[c.to] = c.route })
		clock.Advance(time.Second)
		if err := <-ended; !errors.Is(err, c.want) {
			t.Errorf("%v: dial: %v; want %v", c.to, err, c.want)
		}

		if _, err := dialed.Write([]byte("x")); err != nil {
			t.Errorf("%v: Write before the stack knows: %v", c.to, err)
		}
		go func() {
			_, err := dialed.Read(make([]byte, 1))
			ended <- err
		}()
		var err error
		for err == nil {
			select {
			case err = <-ended:
			default:
				if len(p.left.nic.failures) == 0 { // else it was not told yet
					clock.Advance(10 * time.Second)
				}
				runtime.Gosched()
			}
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%v: Read: %v; want %v", c.to, err, c.want)
		}
		s := p.left.Stats()
		if counted := s.RouteNoPeer + s.RouteNoEndpoint; counted < 2 || (s.RouteNoPeer > 0) == (s.RouteNoEndpoint > 0) {
			t.Errorf("%v: %+v", c.to, s)
		}
		p.left.Close()
		p.right.Close()
	}
}

// To a datagram the answer is immediate.
func TestDatagramWithoutRoute(t *testing.T) {
	p := newPair(t)
	p.fromLeft.set(func() {
		p.fromLeft.refuse[nobody4], p.fromLeft.refuse[nobody6] = wireguard.ErrNoPeer, wireguard.ErrNoEndpoint
	})
	u, err := p.left.ListenPacket(t.Context(), "udp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		to   netip.Addr
		want error
	}{{nobody4, syscall.ENETUNREACH}, {nobody6, syscall.EHOSTUNREACH}} {
		for _, size := range []int{1, 9000} {
			_, err := u.WriteTo(make([]byte, size), net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.to, 7)))
			if !errors.Is(err, c.want) {
				t.Errorf("%d bytes to %v: %v; want %v", size, c.to, err, c.want)
			}
		}
	}
}

// What routers behind the tunnel say about hosts ends a dial too. Of the codes
// of IPv6 the stack knows only two.
func TestUnreachableFromTheFarSide(t *testing.T) {
	for _, c := range []struct {
		to   netip.Addr
		code byte
		want error
	}{
		{nobody4, byte(header.ICMPv4NetUnreachable), syscall.ENETUNREACH},
		{nobody4, byte(header.ICMPv4HostUnreachable), syscall.EHOSTUNREACH},
		{nobody6, byte(header.ICMPv6NetworkUnreachable), syscall.ENETUNREACH},
		{nobody6, byte(header.ICMPv6AddressUnreachable), syscall.EHOSTUNREACH},
		{nobody6, byte(header.ICMPv6Prohibited), syscall.EHOSTUNREACH},
	} {
		p := newPair(t)
		p.fromLeft.set(func() {
			p.fromLeft.edit = func(syn []byte) []byte {
				// Out of the far end comes an error instead of the SYN.
				p.fromRight.Send(batchOf(p.fromRight, icmpError(c.to, c.code, 0, syn)))
				return nil
			}
		})
		_, err := p.left.DialContext(t.Context(), "tcp", netip.AddrPortFrom(c.to, 80).String())
		if !errors.Is(err, c.want) {
			t.Errorf("%v, code %d: %v; want %v", c.to, c.code, err, c.want)
		}
	}
}

func TestErrorsOfPackageNet(t *testing.T) {
	if err := opError("read", "tcp", nil, nil, io.EOF); err != io.EOF {
		t.Errorf("EOF became %v", err)
	}
	if err := opError("read", "tcp", nil, nil, nil); err != nil {
		t.Errorf("nil became %v", err)
	}
	err := opError("dial", "tcp", nil, net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.2:80")), syscall.ECONNREFUSED)
	if got, want := err.Error(), "dial tcp 10.0.0.2:80: connect: "+syscall.ECONNREFUSED.Error(); got != want {
		t.Errorf("error reads %q; want %q", got, want)
	}
}
