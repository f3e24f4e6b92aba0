//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const proxyLine = `^proxy  socks5 \+ http on (127\.0\.0\.1:\d+)      try: curl -x socks5h://127\.0\.0\.1:\d+ http://ADDRESS/$`

// TestUp is a first session: what is said, a page through the proxy, Ctrl-C, and nothing left behind.
func TestUp(t *testing.T) {
	t.Parallel()
	_, near, dir := newFarEnd(t)
	p := start(t, dir, "up", "-D", "0", "wg0.conf")
	p.says(t, `^tunnel wg0: handshake with \S+:\d+ in [\d.]+ m?s \(our public key `+regexp.QuoteMeta(near.PrivateKey.Public().Short())+`\)$`)
	proxy := p.says(t, proxyLine)[1]
	p.says(t, `^note   ADDRESS is one in 10\.77\.0\.1/32; names are refused, as the tunnel has no name server; add DNS in wg0\.conf$`)

	if page := get(t, proxy); !strings.HasPrefix(page, "Hello 10.77.0.2, this is 10.77.0.1") {
		t.Errorf("through the proxy came:\n%s", page)
	}
	p.endsWell(t, syscall.SIGINT)

	if part := partOf(near.PrivateKey.Base64(), p.stderr.String()); part != "" {
		t.Errorf("the output holds %q of the private key", part)
	}
	if c, err := net.Dial("tcp", proxy); err == nil {
		c.Close()
		t.Error("somebody still listens on the proxy's port")
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("in the folder are %v, %v; only wg0.conf was there", files, err)
	}
}

// get fetches the far end's page by SOCKS5.
func get(t *testing.T, proxy string) string {
	t.Helper()
	return getBy(t, "socks5h://"+proxy)
}

// getBy fetches the far end's page as "demo --once" does.
func getBy(t *testing.T, proxy string) string {
	t.Helper()
	via, err := url.Parse(proxy)
	if err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	if err := quietApp().fetch(t.Context(), via, fmt.Sprintf("http://%v/", farAddress), &page); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

// TestDrain: after the first signal nobody new is let in, and who is in may finish.
func TestDrain(t *testing.T) {
	t.Parallel()
	p, proxy, c := startWithConn(t)
	p.signal(t, syscall.SIGTERM)
	p.says(t, `^ending: open connections have 30 s to finish \(1 now\); another Ctrl-C ends them$`)
	if c, err := net.Dial("tcp", proxy); err == nil {
		c.Close()
		t.Error("the proxy still lets clients in")
	}
	echoes(t, c)
	c.Close()
	if state := p.wait(); state.ExitCode() != 0 {
		t.Errorf("it ended with %v", state)
	}
}

// TestSecondSignal ends the process at once.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	p, _, _ := startWithConn(t)
	p.signal(t, syscall.SIGINT)
	p.says(t, `^ending: `)
	p.signal(t, syscall.SIGINT)
	if state := p.wait(); state.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
		t.Errorf("it ended with %v, and not by the signal", state)
	}
}

// startWithConn is a process with a connection to an echo server through its proxy.
func startWithConn(t *testing.T) (p *process, proxy string, c net.Conn) {
	t.Helper()
	end, _, dir := newFarEnd(t)
	echo := netip.AddrPortFrom(farAddress, 7)
	echoOnce(t, end, echo)
	p = start(t, dir, "up", "-D", "0", "wg0.conf")
	proxy = p.says(t, proxyLine)[1]
	return p, proxy, dialSOCKS(t, proxy, echo)
}

// TestSilentServer: no answer is explained, and the tunnel comes up as soon as there is one.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	endpoint := silent.LocalAddr().String()
	near, far, err := demoTunnels()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeConf(t, dir, near, endpoint)

	p := start(t, dir, "up", "-D", "0", "wg0.conf")
	line := p.says(t, `^tunnel wg0: no handshake with `+endpoint+` in 5 s, still trying; the usual causes: .*$`)[0]
	for _, part := range []string{near.PrivateKey.Public().String(), "wg0.conf", "firewall"} {
		if !strings.Contains(line, part) {
			t.Errorf("it does not say %q: %s", part, line)
		}
	}
	p.says(t, proxyLine)

	silent.Close()
	far.ListenPort = netip.MustParseAddrPort(endpoint).Port()
	openFar(t, far)
	p.says(t, `^tunnel wg0: handshake with `+endpoint+` in [\d.]+ s `)
	p.endsWell(t, syscall.SIGTERM)
}

// TestNameWithoutAddress: an endpoint whose name does not resolve is no reason not to start.
func TestNameWithoutAddress(t *testing.T) {
	t.Parallel()
	near, _, err := demoTunnels()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeConf(t, dir, near, "host.onion:51820") // for which Go's resolver asks nobody (RFC 7686, section 2)
	p := start(t, dir, "up", "-D", "0", "wg0.conf")
	p.says(t, `^tunnel wg0: no address for host\.onion:51820 yet, still trying; check Endpoint in wg0\.conf `)
	p.endsWell(t, syscall.SIGINT)
}

// TestWaitForPeer: a tunnel that calls nobody says where it waits.
func TestWaitForPeer(t *testing.T) {
	t.Parallel()
	near, far, err := demoTunnels()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeConf(t, dir, near, "")
	p := start(t, dir, "up", "-D", "0", "wg0.conf")
	port := p.says(t, `^tunnel wg0: no peer has an Endpoint to call; waits for them on UDP port (\d+) \(our public key `)[1]
	p.says(t, proxyLine)

	far.Peers[0].Endpoint = "127.0.0.1:" + port
	far.Peers[0].PersistentKeepalive = 25 * time.Second
	openFar(t, far)
	p.says(t, `^tunnel wg0: handshake with 127\.0\.0\.1:\d+ begun by the peer \(our public key `)
	p.endsWell(t, syscall.SIGINT)
}

// TestReaderGone: who stops reading what is said does not stop the tunnel.
func TestReaderGone(t *testing.T) {
	t.Parallel()
	_, _, dir := newFarEnd(t)
	p := start(t, dir, "up", "-D", "0", "--log-level", "debug", "wg0.conf")
	proxy := p.says(t, proxyLine)[1]
	p.pipe.Close()
	for range 3 {
		get(t, proxy)
	}
	p.endsWell(t, syscall.SIGINT)
}

// TestDemoPort: the demo does not need its usual port.
func TestDemoPort(t *testing.T) {
	t.Parallel()
	// If this fails, somebody else has the port, which serves as well.
	if ln, err := net.Listen("tcp", defaultListen.String()); err == nil {
		defer ln.Close()
	}
	p := start(t, t.TempDir(), "demo", "--once")
	p.says(t, `^proxy  127\.0\.0\.1:1080 is taken, so a free port has to do$`)
	if port := p.says(t, `^proxy  socks5 \+ http on 127\.0\.0\.1:(\d+) `)[1]; port == "1080" {
		t.Error("it has the port that is taken")
	}
	if state := p.wait(); state.ExitCode() != 0 {
		t.Errorf("it ended with %v", state)
	}
}

// TestDemoGateway: the demo's proxy leads on to what this host reaches, and to its loopback addresses never (FAULTS N9). Its
// far end is asked for names.
func TestDemoGateway(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), "demo", "-D", "0")
	proxy := p.says(t, `^proxy  socks5 \+ http on (127\.0\.0\.1:\d+) `)[1]
	reached := func(host string) bool {
		ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") })}
		defer server.Close()
		go func() { _ = server.Serve(ln) }()
		var page strings.Builder
		err = quietApp().fetch(t.Context(), &url.URL{Scheme: "http", Host: proxy}, "http://"+ln.Addr().String()+"/", &page)
		return err == nil && page.String() == "here"
	}
	if reached("127.0.0.1") {
		t.Error("it leads to this host's loopback address")
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range addrs { // a host without a network has none to try
		if prefix, err := netip.ParsePrefix(addr.String()); err == nil && prefix.Addr().Is4() && prefix.Addr().IsGlobalUnicast() {
			if !reached(prefix.Addr().String()) {
				t.Errorf("it does not lead to %v", prefix.Addr())
			}
		}
	}
	if err := quietApp().fetch(t.Context(), &url.URL{Scheme: "http", Host: proxy}, "http://no-such-name.onion/", io.Discard); err == nil || !strings.Contains(err.Error(), "502") {
		t.Errorf("a name that does not exist: %v", err) // Go's resolver asks nobody for it (RFC 7686, section 2)
	}
	p.endsWell(t, syscall.SIGINT)
}

// TestCurlLine: the line to try is a command that works as it is printed.
func TestCurlLine(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		const missing = "this test needs curl: install the package curl"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	_, _, dir := newFarEnd(t)
	for _, args := range [][]string{{"demo", "-D", "0"}, {"up", "-D", "0", "wg0.conf"}} {
		p := start(t, dir, args...)
		line := p.says(t, `^proxy .* try: (curl -x .*)$`)[1]
		line = strings.Replace(line, "ADDRESS", farAddress.String(), 1)
		curl := exec.Command("sh", "-c", line+" --silent --show-error")
		if page, err := curl.CombinedOutput(); err != nil || !strings.HasPrefix(string(page), "Hello ") {
			t.Errorf("%s: %v\n%s", line, err, page)
		}
		p.endsWell(t, syscall.SIGINT)
	}
}
