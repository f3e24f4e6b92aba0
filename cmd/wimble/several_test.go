//go:build unix

package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/wimble-proxy/wimble/config"
)

// TestSeveral: a file in TOML brings up several tunnels, each with what listens for it, and the command line adds to the
// first.
func TestSeveral(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var text strings.Builder
	var ends []*farEnd
	for _, name := range []string{"one", "two"} {
		near, far, err := demoTunnels()
		if err != nil {
			t.Fatal(err)
		}
		end := openFar(t, far)
		ends = append(ends, end)
		tunnelTOML(&text, name, near, end.net.Device().ListenPort())
	}
	echo := netip.AddrPortFrom(farAddress, 7)
	echoOnce(t, ends[1], echo)
	fmt.Fprintf(&text, `
[[proxy]]
listen = "127.0.0.1:0"
tunnel = "two"
protocols = ["http"]

[[forward]]
listen = "[::1]:0"
target = "%v"
tunnel = "two"
`, echo)
	if err := os.WriteFile(filepath.Join(dir, "both.toml"), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}

	p := start(t, dir, "up", "both.toml", "-D", "0", "-L", "0:10.77.0.1:80")
	ofTwo := p.says(t, `^proxy  http on (127\.0\.0\.1:\d+) into two      try: curl -x http://127\.0\.0\.1:\d+ http://ADDRESS/$`)[1]
	ofOne := p.says(t, `^proxy  socks5 \+ http on (127\.0\.0\.1:\d+) into one      try: curl -x socks5h://127`)[1]
	forward := p.says(t, `^forward to 10\.77\.0\.1:7 on (\[::1\]:\d+) into two$`)[1]
	p.says(t, `^forward to 10\.77\.0\.1:80 on 127\.0\.0\.1:\d+ into one$`)
	for _, name := range []string{"one", "two"} {
		if !strings.Contains(p.stderr.String(), "tunnel "+name+": handshake with") {
			t.Errorf("tunnel %s is not said to be up:\n%s", name, p.stderr.String())
		}
	}

	for proxy, end := range map[string]*farEnd{"http://" + ofTwo: ends[1], "socks5h://" + ofOne: ends[0], "http://" + ofOne: ends[0]} {
		if page := getBy(t, proxy); !strings.Contains(page, end.net.Device().Snapshot().PublicKey.String()) {
			t.Errorf("%s leads to another far end:\n%s", proxy, page)
		}
	}
	c, err := net.Dial("tcp", forward)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	echoes(t, c)
	p.endsWell(t, syscall.SIGINT)
}

// tunnelTOML writes a tunnel to the far end at a port of loopback.
func tunnelTOML(w io.Writer, name string, near config.Tunnel, port uint16) {
	fmt.Fprintf(w, `
[[tunnel]]
name = "%s"
private_key = "%s"
addresses = ["%v"]

[[tunnel.peer]]
public_key = "%v"
endpoint = "127.0.0.1:%d"
allowed_ips = ["%v"]
`, name, near.PrivateKey.Base64(), near.Addresses[0], near.Peers[0].PublicKey, port, near.Peers[0].AllowedIPs[0])
}

// echoOnce serves one connection at an address of a far end with what it sends.
func echoOnce(t *testing.T, end *farEnd, at netip.AddrPort) {
	t.Helper()
	ln, err := end.net.Listen(t.Context(), "tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if c, err := ln.Accept(); err == nil {
			_, _ = io.Copy(c, c)
			c.Close()
		}
	}()
}

// echoes sends something, ends its stream, and expects it back.
func echoes(t *testing.T, c net.Conn) {
	t.Helper()
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
}

// TestAllOrNothing: what can't be opened keeps everything else from being opened (FAULTS L3).
func TestAllOrNothing(t *testing.T) {
	t.Parallel()
	near, _, err := demoTunnels()
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	second := near
	second.Name, second.ListenPort = "second", uint16(udp.LocalAddr().(*net.UDPAddr).Port)
	a := quietApp()
	p := newPlan("the test", config.Config{Tunnels: []config.Tunnel{near, second}})
	if err := p.add(additions{proxies: listenFlag{netip.MustParseAddrPort("127.0.0.1:0")}}); err != nil {
		t.Fatal(err)
	}
	s := a.newSession(p)
	err = s.open(t.Context())
	if err == nil || exitCode("up", err) != exitConfig || !regexp.MustCompile(`^the test: tunnel second: UDP port \d+, its ListenPort, is in use; `).MatchString(err.Error()) {
		t.Errorf("the error is %v", err)
	}
	if c, err := net.Dial("tcp", s.listeners[0].Addr().String()); err == nil {
		c.Close()
		t.Error("the proxy listens although a tunnel is not up")
	}
}

// TestCheckOpensNothing: what check says, it says without a socket (FAULTS C10).
func TestCheckOpensNothing(t *testing.T) {
	near, _, err := demoTunnels()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeConf(t, dir, near, "host.onion:51820")
	a := quietApp()
	root := a.rootCommand()
	root.SetOut(io.Discard)
	root.SetArgs([]string{"check", filepath.Join(dir, "wg0.conf"), "-D", "0"})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	for p := range a.host.opened {
		if n := a.host.opened[p].Load(); n > 0 {
			t.Errorf("it opened %d sockets for %s", n, purposeNames[p])
		}
	}
}
