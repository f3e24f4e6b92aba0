package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// dialFailures has the errors of Dial with the status and the error type for each. H17's cap is TestH17Cap.
var dialFailures = []struct {
	name   string
	err    error
	status int
	cause  string
}{
	{"bad name", &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}, 502, "dns_error"},
	{"no resolver", &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "names need DNS in the tunnel", Name: "x"}}, 502, "dns_error"},
	{"DNS time-out", &net.DNSError{Err: "timeout", UnwrapErr: context.DeadlineExceeded, Name: "x", IsTimeout: true}, 504, "dns_timeout"},
	{"ECONNREFUSED", errno(syscall.ECONNREFUSED), 502, "connection_refused"},
	{"ECONNRESET", errno(syscall.ECONNRESET), 502, "connection_terminated"},
	{"no route", errno(syscall.ENETUNREACH), 502, "destination_ip_unroutable"},
	{"ETIMEDOUT", errno(syscall.ETIMEDOUT), 504, "connection_timeout"},
	{"deadline of the context", fmt.Errorf("dial: %w", context.DeadlineExceeded), 504, "connection_timeout"},
	{"rule", fmt.Errorf("metadata address: %w", os.ErrPermission), 403, "http_request_denied"},
	{"EACCES", errno(syscall.EACCES), 403, "http_request_denied"},
	{"tunnel down", errno(syscall.ENETDOWN), 503, "destination_unavailable"},
	{"EHOSTUNREACH", errno(syscall.EHOSTUNREACH), 503, "destination_unavailable"},
	{"no ports left", errno(syscall.EADDRNOTAVAIL), 503, "connection_limit_reached"},
	{"EMFILE", errno(syscall.EMFILE), 503, "connection_limit_reached"},
	{"error that only says refused", errors.New("connection refused by 10.1.2.3"), 500, "proxy_internal_error"},
}

// TestH17 is the map of errors, in both forms. What the client hears says nothing of the inside: no address, no name.
func TestH17(t *testing.T) {
	for _, tt := range dialFailures {
		for _, request := range []string{getRequest, connectRequest} {
			t.Run(tt.name+"/"+request[:3], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := serve(t, Config{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, tt.err }})
					defer s.end(t)
					c := s.connect()
					defer c.Close()
					send(c, request)
					lines := []string{kept}
					if request == connectRequest {
						lines = nil
					}
					expect(t, c, refused(tt.status, tt.cause, dialRefusal(tt.err).text, lines...))
					if text := dialRefusal(tt.err).text; strings.ContainsAny(text, "0123456789:") {
						t.Errorf("%q says more than it should", text)
					}
					if got := waitStats(s).Statuses; len(got) != 1 || got[tt.status] != 1 {
						t.Errorf("statuses %v, want one %d", got, tt.status)
					}
				})
			})
		}
	}
}

// TestH17Cap is L5 for HTTP: 503 beyond the cap, and a place again when a client has been served, though it stays.
func TestH17Cap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := newMemPair()
		s := serve(t, Config{Dial: dialTo(near), MaxConns: 1})
		defer s.end(t)
		first := s.connect()
		defer first.Close()
		send(first, getRequest)
		expect(t, far, getAtFar)

		second := s.connect()
		defer second.Close()
		full := "there are too many connections at the moment"
		send(second, getRequest)
		expect(t, second, refused(503, "connection_limit_reached", full, kept))
		send(second, connectRequest)
		expect(t, second, refused(503, "connection_limit_reached", full))
		expectEnd(t, second, time.Second)
		second.Close()

		send(far, okResponse)
		expect(t, first, okResponse)
		far.Close()
		if got := waitStats(s); got.Conns != 0 || got.Handshakes != 1 {
			t.Errorf("%d connections and %d handshakes, want 0 and 1: the client that may ask again", got.Conns, got.Handshakes)
		}
		third := s.connect()
		defer third.Close()
		send(third, hello+toV4)
		expect(t, third, welcome+success4)
	})
}

// TestH17DialDeadline has a dial into a black hole.
func TestH17DialDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Config{Dial: hang})
		defer s.end(t)
		c := s.connect()
		defer c.Close()
		begin := time.Now()
		send(c, getRequest)
		expect(t, c, refused(504, "connection_timeout", "the target did not answer in time", kept))
		if took := time.Since(begin); took != 30*time.Second {
			t.Errorf("refused after %v, want 30s", took)
		}
	})
}

// TestH19 has targets that are this proxy, by address and by a name.
func TestH19(t *testing.T) {
	own := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1080}
	for _, host := range []string{"127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "localhost", "a.name"} {
		synctest.Test(t, func(t *testing.T) {
			dials := 0
			s := serve(t, Config{Dial: func(context.Context, string, string) (net.Conn, error) {
				dials++
				near, _ := newMemPair()
				near.remote = own
				return near, nil
			}})
			defer s.end(t)
			for _, request := range []string{
				"GET http://" + host + ":1080/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
				"CONNECT " + host + ":1080 HTTP/1.1\r\nHost: a\r\n\r\n",
			} {
				c := s.connect()
				send(c, request)
				expect(t, c, refused(508, "proxy_loop_detected", "the target is this proxy"))
				expectEnd(t, c, time.Second)
				c.Close()
			}
			c := s.connect()
			defer c.Close()
			name := strings.Trim(host, "[]")
			send(c, hello+"\x05\x01\x00\x03"+string([]byte{byte(len(name))})+name+"\x04\x38")
			expect(t, c, welcome+failure(2))
			if want := map[string]int{"a.name": 3}[host]; dials != want {
				t.Errorf("%s: %d dials, want %d", host, dials, want)
			}
		})
	}
}

// TestH19OtherPort has targets that are near, but not this proxy.
func TestH19OtherPort(t *testing.T) {
	for _, address := range []string{"127.0.0.1:1081", "localhost:80", "192.0.2.1:1080", "[::2]:1080"} {
		if isSelf(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1080}, address) {
			t.Errorf("%s is taken for the listener", address)
		}
	}
	if isSelf(&net.UnixAddr{Name: "s", Net: "unix"}, "127.0.0.1:1080") {
		t.Error("an address is taken for a Unix socket")
	}
}

// TestHTTPLogsNameNobody is TestLogsNameNobody for HTTP, with a password as well.
func TestHTTPLogsNameNobody(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelInfo, slog.LevelDebug} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			s := serve(t, Config{
				Users:  users,
				Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level})),
				Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
					if strings.HasPrefix(address, "refused") {
						return nil, errno(syscall.ECONNREFUSED)
					}
					return echo(ctx, network, address)
				},
			})
			requests := []string{
				with(connectRequest, annSecret),
				with("CONNECT refused.example:443 HTTP/1.1\r\nHost: a\r\n\r\n", annSecret),
				with("GET http://refused.example/private HTTP/1.0\r\n\r\n", annSecret),
				with("GET http://echoes.what/it/hears HTTP/1.0\r\n\r\n", annSecret),
				"GET http://no.login/private HTTP/1.0\r\n\r\n",
				"GET malformed HTTP/1.1\r\n\r\n",
				"GET http://cut.off/",
			}
			for _, said := range requests {
				c := s.connect()
				send(c, said)
				go func() { _, _ = c.Read(make([]byte, 1000)) }()
				synctest.Wait()
				c.Close()
				synctest.Wait()
			}
			s.end(t)
			lines := strings.Count(log.String(), "\n")
			if level == slog.LevelInfo && lines != 0 {
				t.Errorf("lines above debug:\n%s", &log)
			}
			if level == slog.LevelDebug && lines != len(requests) {
				t.Errorf("%d debug lines, want one for each of %d requests:\n%s", lines, len(requests), &log)
			}
			if strings.Contains(log.String(), "secret") || strings.Contains(log.String(), "YW5u") || strings.Contains(log.String(), "private") {
				t.Errorf("a password or a path is in the log:\n%s", &log)
			}
		})
	}
}
