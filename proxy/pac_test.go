package proxy

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pacResponse is the whole of it: no name, no DIRECT, no CORS field, and nothing for pages of other origins.
const pacResponse = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ns-proxy-autoconfig\r\nX-Content-Type-Options: nosniff\r\n" +
	"Cross-Origin-Resource-Policy: same-origin\r\nCache-Control: no-store\r\nContent-Length: 73\r\n\r\n" +
	"function FindProxyForURL(url, host) {\n  return \"PROXY 127.0.0.1:1080\";\n}\n"

// TestA3 has clients that ask for the configuration file, with users, who need not log in for it.
func TestA3(t *testing.T) {
	notHere := refused(403, "http_request_denied", "/proxy.pac is for programs on this host", kept)
	get := "GET /proxy.pac HTTP/1.1\r\nHost: 127.0.0.1:1080\r\n\r\n"
	for _, tt := range []struct{ name, source, says, hears string }{
		{"from loopback", "127.0.0.1", get, pacResponse},
		{"from another loopback address", "127.0.0.9", get, pacResponse},
		{"from IPv6 loopback", "::1", strings.Replace(get, "127.0.0.1", "[::1]", 1), pacResponse},
		{"mapped", "::ffff:127.0.0.1", strings.Replace(get, "127.0.0.1", "localhost", 1), pacResponse},
		{"HEAD", "127.0.0.1", strings.Replace(get, "GET", "HEAD", 1), withoutBody(pacResponse)},
		{"from elsewhere", "192.0.2.9", get, notHere},
		{"from elsewhere, by IPv6", "2001:db8::1", get, notHere},
		{"rebound name", "127.0.0.1", strings.Replace(get, "127.0.0.1", "evil.example", 1), notHere},
		{"no Host", "127.0.0.1", "GET /proxy.pac HTTP/1.0\r\n\r\n", strings.Replace(notHere, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)},
		{"POST", "127.0.0.1", strings.Replace(get, "GET", "POST", 1), refused(405, "http_request_error", "/proxy.pac can only be read", "Allow: GET, HEAD", kept)},
		{"preflight", "127.0.0.1", strings.Replace(get, "GET", "OPTIONS", 1), refused(405, "http_request_error", "/proxy.pac can only be read", "Allow: GET, HEAD", kept)},
		{"another path", "127.0.0.1", strings.Replace(get, ".pac", ".pa", 1), refused(400, "http_request_error", usage, kept)},
		{"in a path", "127.0.0.1", strings.Replace(get, "/proxy", "/../proxy", 1), refused(400, "http_request_error", usage, kept)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &origins{t: t}
				s := serve(t, Config{Dial: o.dial, Users: users})
				defer s.end(t)
				c := s.connectFrom(tt.source)
				defer c.Close()
				send(c, tt.says)
				expect(t, c, tt.hears)
				_ = c.CloseWrite()
				expectEnd(t, c, time.Second)
				o.check(nil)
			})
		})
	}
}

func TestPACNamesTheListener(t *testing.T) {
	for _, tt := range []struct{ address, want string }{
		{"127.0.0.1:1080", `"PROXY 127.0.0.1:1080"`},
		{"[::1]:8080", `"PROXY [::1]:8080"`},
	} {
		address, err := net.ResolveTCPAddr("tcp", tt.address)
		if err != nil {
			t.Fatal(err)
		}
		if got := pac(address); !strings.Contains(got, tt.want) {
			t.Errorf("the file is\n%s\nwithout %s", got, tt.want)
		}
	}
}

// TestPACOnAUnixSocket has no address to name.
func TestPACOnAUnixSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Config{Dial: echo})
		defer s.end(t)
		client, server := newMemPair()
		server.local, server.remote = &net.UnixAddr{Name: "s", Net: "unix"}, &net.UnixAddr{Net: "unix"}
		s.conns <- server
		defer client.Close()
		send(client, "GET /proxy.pac HTTP/1.1\r\nHost: localhost\r\n\r\n")
		expect(t, client, "HTTP/1.1 403 Forbidden\r\n")
	})
}

// TestOnePort has clients of all kinds on a port that serves both protocols, one of them, or the other.
func TestOnePort(t *testing.T) {
	const nothing = ""
	socks, http := hello+toV4, connectRequest
	for _, tt := range []struct {
		protocols []Protocol
		says      string
		hears     string
		unknown   uint64
	}{
		{nil, socks, welcome + success4, 0},
		{nil, http, established, 0},
		{nil, "\r\n" + http, established, 0},
		{nil, "\x04\x01\x00\x50\xc6\x33\x64\x07\x00", nothing, 1},         // SOCKS4: S5
		{nil, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", nothing, 1}, // TLS: S5
		{nil, " GET / HTTP/1.1\r\n\r\n", malformedRequest(noLine), 0},     // H14
		{nil, "\xff", nothing, 1},                                         //
		{[]Protocol{SOCKS5}, socks, welcome + success4, 0},                //
		{[]Protocol{SOCKS5}, http, nothing, 1},                            // S5
		{[]Protocol{HTTP}, socks, nothing, 1},                             //
		{[]Protocol{HTTP}, http, established, 0},                          //
	} {
		t.Run(fmt.Sprintf("%v/%.5q", tt.protocols, tt.says), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, Config{Protocols: tt.protocols, Dial: echo})
				defer s.end(t)
				c := s.connect()
				defer c.Close()
				send(c, tt.says)
				expect(t, c, tt.hears)
				if got := waitStats(s).Unknown; got != tt.unknown {
					t.Errorf("%d unknown, want %d", got, tt.unknown)
				}
				if tt.unknown > 0 {
					expectEnd(t, c, time.Second)
				}
			})
		})
	}
}
