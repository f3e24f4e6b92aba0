//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/config"
)

const proxyLine = `^proxy  socks5 on (127\.0\.0\.1:\d+)      try: curl -x socks5h://127\.0\.0\.1:\d+ http://ADDRESS/$`

// TestUp is a first session: what is said, a page through the proxy, Ctrl-C, and nothing left behind.
func TestUp(t *testing.T) {
	t.Parallel()
	_, near, dir := newFarEnd(t)
	p := start(t, dir, "up", "-D", "0", "wg0.conf")
	p.says(t, `^tunnel wg0: handshake with \S+:\d+ in [\d.]+ m?s \(our public key `+regexp.QuoteMeta(near.PrivateKey.Public().Short())+`\)$`)
	proxy := p.says(t, proxyLine)[1]
	p.says(t, `^note   ADDRESS is one in 10\.77\.0\.1/32: the proxy takes IP addresses; names need DNS in the tunnel`)

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

// get fetches the far end's page as "demo --once" does.
func get(t *testing.T, proxy string) string {
	t.Helper()
	var page bytes.Buffer
	address := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(proxy))
	a := quietApp()
	if err := a.fetch(t.Context(), address, fmt.Sprintf("http://%v/", farAddress), &page); err != nil {
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
	const text = "still here"
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if echo, err := io.ReadAll(c); err != nil || string(echo) != text {
		t.Errorf("the connection ended with %q, %v", echo, err)
	}
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
	ln, err := end.net.Listen(t.Context(), "tcp", echo.String())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if c, err := ln.Accept(); err == nil {
			_, _ = io.Copy(c, c)
			c.Close()
		}
	}()
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
	if port := p.says(t, `^proxy  socks5 on 127\.0\.0\.1:(\d+) `)[1]; port == "1080" {
		t.Error("it has the port that is taken")
	}
	if state := p.wait(); state.ExitCode() != 0 {
		t.Errorf("it ended with %v", state)
	}
}

// TestSuggest: what is proposed to try is something that the tunnel carries.
func TestSuggest(t *testing.T) {
	networks := func(texts ...string) (peers []config.Peer) {
		for _, text := range texts {
			peers = append(peers, config.Peer{AllowedIPs: []netip.Prefix{netip.MustParsePrefix(text)}})
		}
		return peers
	}
	for _, test := range []struct {
		address, reason string
		peers           []config.Peer
		target, remark  string
	}{
		{"10.0.0.2/32", "a whole default route", networks("0.0.0.0/0", "::/0"), "https://1.1.1.1/", "the proxy takes"},
		{"10.0.0.2/32", "one in two halves", networks("0.0.0.0/1", "128.0.0.0/1"), "https://1.1.1.1/", "the proxy takes"},
		{"fd00::2/128", "no IPv4 at this end", networks("0.0.0.0/0"), "http://ADDRESS/", "ADDRESS is one in 0.0.0.0/0: "},
		{"10.0.0.2/32", "no public networks", networks("10.0.0.0/8", "fd00::/8"), "http://ADDRESS/", "ADDRESS is one in 10.0.0.0/8, fd00::/8: "},
		{"10.0.0.2/32", "many", networks("10.0.0.0/9", "10.1.0.0/9", "10.2.0.0/9", "10.3.0.0/9"), "http://ADDRESS/", "10.2.0.0/9, ...: "},
		{"10.0.0.2/32", "none", nil, "http://ADDRESS/", "the proxy takes"},
	} {
		tunnel := config.Tunnel{Addresses: []netip.Prefix{netip.MustParsePrefix(test.address)}, Peers: test.peers}
		target, remark := suggest(tunnel)
		if !strings.HasPrefix(target, test.target) || !strings.Contains(remark, test.remark) {
			t.Errorf("%s: got %q, %q, want %q, %q", test.reason, target, remark, test.target, test.remark)
		}
	}
}
