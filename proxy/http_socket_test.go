package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// dialHost is a Dial to the host's network.
func dialHost(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// startProxy serves on loopback until the test ends.
func startProxy(t *testing.T, cfg Config) (s *Server, address string) {
	t.Helper()
	cfg.GraceTimeout = -1
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, ln.Addr().String()
}

// TestHTTPClient has net/http as client and as origin: both forms, with a login, and the client's connections are used
// again.
func TestHTTPClient(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the origin reads: %v", err)
		}
		if r.Header.Get("Proxy-Authorization") != "" {
			t.Error("the password reaches the origin")
		}
		w.Header().Set("Trailer", "X-Sum")
		_, _ = fmt.Fprintf(w, "%s %s %d", r.Method, r.URL, len(body))
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, strings.Repeat(".", 100_000))
		w.Header().Set("X-Sum", "1")
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	s, address := startProxy(t, Config{Dial: dialHost, Users: users})
	transport := secure.Client().Transport.(*http.Transport)
	transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", User: url.UserPassword("ann", "secret"), Host: address})
	client := &http.Client{Transport: transport, Timeout: guard}
	defer client.CloseIdleConnections()

	for _, origin := range []string{plain.URL, secure.URL} {
		for i := range 3 {
			size := i * 50_000
			resp, err := client.Post(origin+"/a?b=c", "text/plain", bytes.NewReader(make([]byte, size)))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			want := fmt.Sprintf("POST /a?b=c %d", size) + strings.Repeat(".", 100_000)
			if string(got) != want || err != nil || resp.Trailer.Get("X-Sum") != "1" {
				t.Errorf("from %s: read %.40q of %d bytes, trailers %v, error %v", origin, got, len(got), resp.Trailer, err)
			}
		}
	}
	if got := s.Stats(); got.Accepted != 2 || got.Statuses[200] != 4 {
		t.Errorf("%d connections and statuses %v; want 2, and 200 for 3 requests and a tunnel", got.Accepted, got.Statuses)
	}
}

// TestRealRefusalOfAnUpload is H11 on sockets: what nobody reads must not destroy the refusal by a reset.
func TestRealRefusalOfAnUpload(t *testing.T) {
	_, address := startProxy(t, Config{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errno(syscall.ECONNREFUSED) }})
	client := dialProxy(t, address)
	if _, err := client.Write(append([]byte(post("Content-Length: 1048576\r\n", "")), noise(12, 1<<20)...)); err != nil {
		t.Fatalf("write: %v", err)
	}
	expect(t, client, refused(502, "connection_refused", "the target refused the connection"))
	expectEnd(t, client, guard)
}

func dialProxy(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(guard))
	return c.(*net.TCPConn)
}

// TestPartIsNoWhole has responses that break off. Whatever tells the client where the body ends, it must see that.
func TestPartIsNoWhole(t *testing.T) {
	for _, tt := range []struct{ name, says, head, from string }{
		{"HTTP/1.1", getRequest, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"},
		{"HTTP/1.0", "GET http://example.com/a?b HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart", "HTTP/1.1 200 OK\r\n\r\npart"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			origins := listen(t)
			_, address := startProxy(t, Config{Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return dialHost(ctx, network, origins.Addr().String())
			}})
			client := dialProxy(t, address)
			send(client, tt.says)
			origin, err := origins.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer origin.Close()
			expect(t, origin, getAtFar)
			send(origin, tt.from)
			expect(t, client, tt.head)
			_ = origin.(*net.TCPConn).SetLinger(0)
			_ = origin.Close()
			if _, err := io.Copy(io.Discard, client); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client reads %v, want a reset", err)
			}
		})
	}
}

// TestResetEndsAnExchange has a client that is gone for good while its response is awaited.
func TestResetEndsAnExchange(t *testing.T) {
	origins := listen(t)
	_, address := startProxy(t, Config{Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialHost(ctx, network, origins.Addr().String())
	}})
	client := dialProxy(t, address)
	send(client, getRequest)
	origin, err := origins.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer origin.Close()
	expect(t, origin, getAtFar)
	_ = client.SetLinger(0)
	_ = client.Close()
	expectEnd(t, origin, guard)
}

// TestH21 has an origin that closes the connection as the request comes, as one does with a connection that was idle. The
// request must not be sent again: nobody knows whether it was served.
func TestH21(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		origins := listen(t)
		var accepted atomic.Int64
		go func() {
			for {
				c, err := origins.Accept()
				if err != nil {
					return
				}
				accepted.Add(1)
				_ = c.(*net.TCPConn).SetLinger(0)
				_, _ = c.Read(make([]byte, 1))
				_ = c.Close()
			}
		}()
		_, address := startProxy(t, Config{Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialHost(ctx, network, origins.Addr().String())
		}})
		client := dialProxy(t, address)
		send(client, method+" http://h/ HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
		expect(t, client, "HTTP/1.1 502 Bad Gateway\r\n")
		_, _ = io.Copy(io.Discard, client)
		if n := accepted.Load(); n != 1 {
			t.Errorf("%s: %d connections to the origin, want 1", method, n)
		}
	}
}
