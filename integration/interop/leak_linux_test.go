package interop

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/forward"
	"github.com/wimble-proxy/wimble/netstack"
	"github.com/wimble-proxy/wimble/proxy"
	"github.com/wimble-proxy/wimble/wireguard"
)

// endpointName is the only name that the host may be asked for.
const endpointName = "far.site.example"

// forbidden are addresses that the tunnel leads nowhere: no peer has them.
var forbidden = []string{"198.51.100.7", "[2001:db8:ffff::7]", outsideAddrs[0], "[" + outsideAddrs[1] + "]"}

// TestNoLeak is FAULTS D1: whatever clients ask for, on right paths and wrong
// ones, the host is asked for the name of the endpoint alone, and sends packets
// to the endpoint alone. Three witnesses have to agree: a name server that the
// host would ask, a capture of all that the host sends, and the program's own
// count of the sockets that it opened.
func TestNoLeak(t *testing.T) {
	t.Parallel()
	const programIs = "INTEROP_PROGRAM"
	if os.Getenv(inNamespace) == "" {
		lookPath(t, "curl", "curl")
		program := buildWimble(t, sharedDir(t))
		enterNamespace(t, syscall.CLONE_NEWNET|syscall.CLONE_NEWNS, programIs+"="+program)
		return
	}
	l := newLeakTest(t, os.Getenv(programIs))
	l.showItCanFail(t)
	for _, phase := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"up", l.up},
		{"connect and exec", l.others},
		{"dead name server", l.deadNameServer},
		{"dead far end", l.deadFarEnd},
		{libraryPhase, l.library},
	} {
		asked := len(l.canary.questions())
		packets := startCapture(t)
		begin := time.Now()
		phase.run(t)
		t.Logf("%s: %.1f s", phase.name, time.Since(begin).Seconds())
		l.check(t, phase.name, packets.take(t), l.canary.questions()[asked:])
	}
}

type leakTest struct {
	curl
	*site
	canary *nameServer
	port   uint16 // of the far end
}

// newLeakTest puts the far end outside.
func newLeakTest(t *testing.T, program string) *leakTest {
	t.Helper()
	out := openOutside(t)
	far := netip.MustParseAddr(outsideAddrs[0])
	l := &leakTest{canary: out.serveNames(t, map[string][]netip.Addr{endpointName: {far}})}
	ours, theirs := configure(t, true)
	l.site = newSite(t, openForeignOn(t, theirs, &bind{listen: out.listenPacket}), ours, program)
	l.port = l.peer.port(t)
	l.ours.Peers[0].AllowedIPs = append(l.ours.Peers[0].AllowedIPs, deadServer)
	l.curl = newCurl(t, l.site)
	l.configure(t, endpointName, l.port)
	return l
}

// deadServer is an address behind the tunnel that nobody has.
var deadServer = netip.MustParsePrefix("10.7.0.66/32")

// configure writes the configuration with an endpoint.
func (l *leakTest) configure(t *testing.T, host string, port uint16, dns ...netip.Addr) {
	t.Helper()
	c := l.ours
	c.Peers = []config.Peer{c.Peers[0]}
	c.Peers[0].Endpoint = net.JoinHostPort(host, strconv.Itoa(int(port)))
	if dns != nil {
		c.DNS = dns
	}
	l.conf = writeWireGuard(t, l.dir, c)
}

// showItCanFail asks the host, by the same curl, and looks for it at both
// witnesses outside.
func (l *leakTest) showItCanFail(t *testing.T) {
	packets := startCapture(t)
	if out, err := l.command(t.Context(), "http://direct.site.example/").CombinedOutput(); err == nil {
		t.Fatalf("a name that nobody has was found: %s", out)
	}
	if out, err := l.command(t.Context(), "--max-time", "2", "http://"+net.JoinHostPort(forbidden[0], "81")).CombinedOutput(); err == nil {
		t.Fatalf("there is a server outside: %s", out)
	}
	var named, called bool
	for _, p := range packets.take(t) {
		named = named || p.protocol == unix.IPPROTO_UDP && p.to.Port() == 53
		called = called || p.protocol == unix.IPPROTO_TCP && p.to == netip.MustParseAddrPort(forbidden[0]+":81")
	}
	if asked := l.canary.questions(); !slices.Contains(asked, "direct.site.example. A") || !named || !called {
		t.Fatalf("a leak goes unseen: the name server was asked %q; the capture has the question: %v, the connection: %v", asked, named, called)
	}
}

// check looks at what the witnesses outside have seen.
func (l *leakTest) check(t *testing.T, phase string, packets []packet, asked []string) {
	t.Helper()
	questions, toEndpoint := 0, 0
	for _, p := range packets {
		switch {
		case p.device == "lo" && p.protocol == unix.IPPROTO_TCP && p.to.Addr().IsLoopback() && p.from.Addr().IsLoopback():
			// Clients of our listeners.
		case p.to.String() == net.JoinHostPort(outsideAddrs[0], "53") && p.protocol == unix.IPPROTO_UDP:
			questions++
		case p.to.Addr() == netip.MustParseAddr(outsideAddrs[0]) && (p.to.Port() == l.port || p.to.Port() == deadPort) && p.protocol == unix.IPPROTO_UDP:
			toEndpoint++
		case p.to.Addr().IsMulticast() && p.protocol == unix.IPPROTO_ICMPV6:
			// The system's own: it makes the groups of its addresses known (RFC 3810).
		case p.to.Addr() == netip.MustParseAddr(outsideAddrs[0]) && p.protocol == unix.IPPROTO_ICMP && p.icmp == 3:
			// The system's own: the far end still speaks to a program that has ended (RFC 1122, section 3.2.2.1).
		default:
			t.Errorf("%s: a packet went elsewhere: %v", phase, p)
		}
	}
	for _, question := range asked {
		if !strings.HasPrefix(question, endpointName+". ") {
			t.Errorf("%s: the host was asked for %s", phase, question)
		}
	}
	if questions != len(asked) || (questions == 0) != (phase == libraryPhase) || toEndpoint == 0 {
		t.Errorf("%s: %d questions and %d datagrams to the endpoint left, and the name server was asked %q", phase, questions, toEndpoint, asked)
	}
	t.Logf("%s: %d packets, of them %d to the endpoint and %d questions for its name", phase, len(packets), toEndpoint, questions)
}

// up has clients of every listener.
func (l *leakTest) up(t *testing.T) {
	asked := len(l.canary.questions())
	up := startUpWith(t, l.program, l.conf, 4, "--log-level", "info",
		"-D", "127.0.0.1:0", "-L", "127.0.0.1:0:"+siteName+":80", "-L", "127.0.0.1:0:missing.site.example:80", "-L", "127.0.0.1:0:"+forbidden[0]+":80")
	for _, route := range curlRoutes {
		via := append(route.flags[:len(route.flags):len(route.flags)], up.proxy)
		for _, host := range []string{siteName, "10.7.0.2", "[fd07::2]"} {
			l.succeeds(t, append(via, "http://"+host)...)
			l.succeeds(t, append(via, "https://"+host)...)
		}
		for _, host := range forbidden {
			l.fails(t, append(via, "http://"+host)...)
			l.fails(t, append(via, "https://"+host)...)
		}
		if route.flags[len(route.flags)-1] != "--socks5" { // with which curl asks the host itself
			l.fails(t, append(via, "http://missing.site.example")...)
			l.fails(t, append(via, "http://missing")...)
		}
	}
	l.pac(t, up)
	l.succeeds(t, "http://"+up.listen[1])
	l.fails(t, "http://"+up.listen[2])
	l.fails(t, "http://"+up.listen[3])
	up.terminate(t)

	// The third witness.
	m := regexp.MustCompile(`(?m)^.*\bended\b.*$`).FindString(up.said.String())
	want := map[string]int{"endpoint-udp": 2, "endpoint-name": len(l.canary.questions()) - asked, "listener": 4, "control": 1}
	counts := regexp.MustCompile(`sockets\.([a-z-]+)=(\d+)`).FindAllStringSubmatch(m, -1)
	for _, c := range counts {
		if n, _ := strconv.Atoi(c[2]); n != want[c[1]] {
			t.Errorf("the program says that it opened %d sockets for %s, want %d", n, c[1], want[c[1]])
		}
	}
	if len(counts) < len(want) {
		t.Errorf("the program does not say which sockets it opened:\n%s", up.said)
	}
}

func (l *leakTest) succeeds(t *testing.T, args ...string) {
	t.Helper()
	if page := string(run(t, l.command(t.Context(), args...))); page != pageText {
		t.Errorf("curl %q: %q", args, page)
	}
}

func (l *leakTest) fails(t *testing.T, args ...string) {
	t.Helper()
	if page, err := l.command(t.Context(), args...).Output(); err == nil {
		t.Errorf("curl %q succeeded: %q", args, page)
	}
}

// others has the commands that have tunnels of their own, one after another:
// wireguard-go wants a while between two handshakes, which connecting to what
// is there takes.
func (l *leakTest) others(t *testing.T) {
	for _, target := range []string{siteName + ":80", "[fd07::2]:80", "missing.site.example:80", "10.7.0.2:80", forbidden[0] + ":80"} {
		cmd := wimbleCommand(t, l.program, "connect", l.conf, target)
		cmd.Stdin = strings.NewReader("GET / HTTP/1.0\r\n\r\n")
		out, err := cmd.Output()
		reached := strings.HasSuffix(string(out), pageText)
		if good := strings.Contains(target, siteName) || strings.Contains(target, "7.0.2") || strings.Contains(target, "fd07"); reached != good || (err == nil) != good {
			t.Errorf("wimble connect %s: %q, %v", target, out, err)
		}
		time.Sleep(betweenHandshakes)
	}
	for _, flag := range []string{"--socks=false", "--socks"} {
		for _, host := range []string{siteName, "[fd07::2]", "missing.site.example", forbidden[0]} {
			cmd := wimbleCommand(t, l.program, "exec", flag, l.conf, "--", l.path, "-q", "-sS", "--fail", "http://"+host)
			out, err := cmd.Output()
			good := host == siteName || strings.Contains(host, "fd07")
			if (err == nil) != good || (string(out) == pageText) != good {
				t.Errorf("wimble exec %s -- curl %s: %q, %v", flag, host, out, err)
			}
			time.Sleep(betweenHandshakes)
		}
	}
}

// betweenHandshakes is more than what wireguard-go wants between two of them,
// 50 ms: it ignores one that comes earlier, and the next try is 5 s later.
const betweenHandshakes = 60 * time.Millisecond

// deadNameServer has a name server that does not answer.
func (l *leakTest) deadNameServer(t *testing.T) {
	l.configure(t, endpointName, l.port, deadServer.Addr())
	up := startUp(t, l.program, l.conf)
	l.fails(t, "--socks5-hostname", up.proxy, "http://"+siteName)
	l.fails(t, "--proxy", up.proxy, "http://other.site.example")
	l.succeeds(t, "--proxy", up.proxy, "http://10.7.0.2")
	up.terminate(t)
}

// deadPort is where the far end does not listen.
const deadPort = 9

// deadFarEnd has a far end that is not there.
func (l *leakTest) deadFarEnd(t *testing.T) {
	l.configure(t, endpointName, deadPort)
	up := startUp(t, l.program, l.conf)
	for _, host := range []string{siteName, "10.7.0.2", "[fd07::2]", forbidden[0]} {
		l.fails(t, "--max-time", "1", "--socks5-hostname", up.proxy, "http://"+host)
		l.fails(t, "--max-time", "1", "--proxy", up.proxy, "https://"+host)
	}
	up.terminate(t)
	cmd := wimbleCommand(t, l.program, "exec", "--timeout", "1s", l.conf, "--", "true")
	if out, err := cmd.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("no handshake")) {
		t.Errorf("wimble exec: %q, %v", out, err)
	}
}

// libraryPhase is the one where the host is asked for nothing.
const libraryPhase = "library"

// library has the packages in this process, as a program of somebody else
// would, with functions in the place of the host's: they refuse whatever but
// the endpoint's socket and name is asked of them.
func (l *leakTest) library(t *testing.T) {
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(_ context.Context, network, address string) (net.Conn, error) {
		t.Errorf("the default resolver is used: it calls %s by %s", address, network)
		return nil, syscall.EACCES
	}}
	var sockets, names atomic.Int64
	c := l.ours
	c.Peers = []config.Peer{c.Peers[0]}
	c.Peers[0].Endpoint = net.JoinHostPort(endpointName, strconv.Itoa(int(l.port)))
	n, err := netstack.Open(t.Context(), c, netstack.Options{
		ListenPacket: func(ctx context.Context, network, address string) (wireguard.PacketConn, error) {
			sockets.Add(1)
			udp, err := new(net.ListenConfig).ListenPacket(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return udp.(*net.UDPConn), nil
		},
		Resolve: func(_ context.Context, name string) ([]netip.Addr, error) {
			names.Add(1)
			if name != endpointName {
				t.Errorf("the host is to resolve %s", name)
				return nil, syscall.EACCES
			}
			return []netip.Addr{netip.MustParseAddr(outsideAddrs[0])}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	server, err := proxy.New(proxy.Config{Dial: n.DialContext})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var served sync.WaitGroup
	defer served.Wait()
	defer cancel()
	serve := func(serve func(context.Context, net.Listener) error) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served.Go(func() {
			if err := serve(ctx, ln); err != nil {
				t.Error(err)
			}
		})
		return ln.Addr().String()
	}
	at := serve(server.Serve)
	for _, way := range []string{"--socks5-hostname", "--proxy"} {
		for _, host := range []string{siteName, "10.7.0.2", "[fd07::2]"} {
			l.succeeds(t, way, at, "http://"+host)
		}
		for _, host := range append([]string{"missing.site.example", "missing"}, forbidden...) {
			l.fails(t, way, at, "http://"+host)
		}
	}
	l.succeeds(t, "http://"+serve((&forward.Forward{Dial: n.DialContext, Target: siteName + ":80"}).Serve))
	l.fails(t, "http://"+serve((&forward.Forward{Dial: n.DialContext, Target: "missing.site.example:80"}).Serve))
	if sockets.Load() != 2 || names.Load() == 0 {
		t.Errorf("the functions for the host were called for %d sockets and %d names, want 2 and some", sockets.Load(), names.Load())
	}
}
