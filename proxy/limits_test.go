package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestH15 has heads that are long in each way that they can be.
func TestH15(t *testing.T) {
	tooMuch := refused(431, "http_request_error", "the request's head is too long")
	for _, tt := range []struct{ name, said, hears string }{
		{"8 KB", with(getRequest, "A: "+strings.Repeat("b", 8<<10)+"\r\n"), ""},
		{"64 KB", with(getRequest, "A: "+strings.Repeat("b", 64<<10)+"\r\n"), tooMuch},
		{"1 MB in lines", with(getRequest, strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 1000)), tooMuch},
		{"1 MB in a line", with(getRequest, strings.Repeat("A", 1<<20)), tooMuch},
		{"10,000 lines", with(getRequest, strings.Repeat("A:\r\n", 10_000)), tooMuch},
		{"300 lines", with(getRequest, strings.Repeat("A:\r\n", 300)), tooMuch},
		{"8 KB of URI", "GET http://h/" + strings.Repeat("a", 8<<10) + " HTTP/1.1\r\nHost: h\r\n\r\n", ""},
		{"64 KB of URI", "GET http://h/" + strings.Repeat("a", 64<<10) + " HTTP/1.1\r\nHost: h\r\n\r\n", refused(414, "http_request_error", "the request's head is too long")},
		{"64 KB of method", strings.Repeat("A", 64<<10) + " http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", refused(414, "http_request_error", "the request's head is too long")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &oracle{}
				s := serve(t, Config{Dial: o.dial, ResponseTimeout: time.Second})
				defer s.end(t)
				c := s.connect()
				defer c.Close()
				said := []byte(tt.said)
				before := allocated()
				go func() { _, _ = c.Write(said) }()
				if tt.hears == "" {
					expect(t, c, refused(504, "http_response_timeout", "the origin did not respond in time", kept))
					return
				}
				expect(t, c, tt.hears)
				if took := allocated() - before; took > 1<<20 {
					t.Errorf("%d bytes were allocated to read a head that is too long", took)
				}
				expectEnd(t, c, time.Second)
				if n, _ := o.requests(); n != 0 {
					t.Errorf("%d requests at the origin", n)
				}
			})
		})
	}
}

// allocated returns how many bytes were allocated so far.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// TestResponseLimits is H15 for what an origin says.
func TestResponseLimits(t *testing.T) {
	tooMuch := refused(502, "http_response_header_section_size", "the head of the origin's response is too long", kept)
	for _, tt := range []struct{ name, says, hears string }{
		{"8 KB", with(okResponse[:38], "A: "+strings.Repeat("b", 8<<10)+"\r\n") + "hi", "HTTP/1.1 200 OK\r\nA: "},
		{"64 KB", with(okResponse[:38], "A: "+strings.Repeat("b", 64<<10)+"\r\n") + "hi", tooMuch},
		{"64 KB of reason", "HTTP/1.1 200 " + strings.Repeat("b", 64<<10) + "\r\n\r\n", tooMuch},
		{
			"interim responses", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", maxInterim+1) + okResponse,
			strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", maxInterim) + refused(502, "http_protocol_error", badFar, kept),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := newMemPair()
				s := serve(t, Config{Dial: dialTo(near)})
				defer s.end(t)
				c := s.connect()
				defer c.Close()
				send(c, getRequest)
				expect(t, far, getAtFar)
				send(far, tt.says)
				expect(t, c, tt.hears)
				far.Close()
			})
		})
	}
}

// TestH16 has clients and origins that stop in the middle of something.
func TestH16(t *testing.T) {
	const early = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"
	for _, tt := range []struct {
		name  string
		says  string // the client
		far   string // the origin, once it has heard something; "" if there is no dial
		hears string
		after time.Duration
	}{
		{"head", getRequest[:30], "", refused(408, "http_request_error", "the request did not come in time"), 10 * time.Second},
		{"second head", "GET / HTTP/1.1\r\nHost: a\r\n\r\n" + getRequest[:30], "", refused(400, "http_request_error", usage, kept) + refused(408, "http_request_error", "the request did not come in time"), 10 * time.Second},
		{"between two requests", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "", refused(400, "http_request_error", usage, kept), 60 * time.Second},
		{"length", post("Content-Length: 9\r\n", "body"), "HTTP", refused(408, "http_request_error", "the request's body did not come in time"), 60 * time.Second},
		{"chunks", post("Transfer-Encoding: chunked\r\n", "9\r\nbody"), "HTTP", refused(408, "http_request_error", "the request's body did not come in time"), 60 * time.Second},
		{"head of the response", getRequest + getRequest[:1], "HTTP/1.1 200", refused(504, "http_response_timeout", "the origin did not respond in time", kept), 15*time.Minute + 10*time.Second},
		{"body of the response", getRequest, early, early, 15 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := newMemPair()
				s := serve(t, Config{Dial: dialTo(near)})
				defer s.end(t)
				c := s.connect()
				defer c.Close()
				begin := time.Now()
				send(c, tt.says)
				if tt.far != "" {
					go func() {
						_, _ = far.Read(make([]byte, 1000))
						go func() { _, _ = io.Copy(io.Discard, far) }()
						_, _ = io.WriteString(far, tt.far)
					}()
				}
				expect(t, c, tt.hears)
				rest, _ := io.ReadAll(c)
				if want := strings.HasPrefix(tt.name, "head of"); len(rest) > 0 != want {
					t.Errorf("then the client heard %q", rest)
				}
				if took := time.Since(begin); took != tt.after {
					t.Errorf("the end came after %v, want %v", took, tt.after)
				}
				far.Close()
			})
		})
	}
}

// TestH16SlowReader has a client that does not take the response; the origin is slowed down, and left in the end.
func TestH16SlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := newMemPair()
		s := serve(t, Config{Dial: dialTo(near)})
		defer s.end(t)
		c := s.connect()
		defer c.Close()
		begin := time.Now()
		send(c, getRequest)
		expect(t, far, getAtFar)
		sent := 0
		_, _ = io.WriteString(far, "HTTP/1.1 200 OK\r\n\r\n")
		for {
			n, err := far.Write(make([]byte, 1000))
			sent += n
			if err != nil {
				break
			}
		}
		if took := time.Since(begin); sent > 2*bodyBuffer || took != time.Minute {
			t.Errorf("%d bytes were taken from the origin, for %v; want two buffers at most, and a minute", sent, took)
		}
		far.Close()
	})
}

// TestH16Uploads has an upload that takes longer than an origin may be silent: taking it is no silence.
func TestH16Uploads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := newMemPair()
		s := serve(t, Config{Dial: dialTo(near)})
		defer s.end(t)
		c := s.connect()
		defer c.Close()
		send(c, post("Content-Length: 60\r\n", ""))
		expect(t, far, "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 60\r\n"+closeEnd)
		for range 60 {
			time.Sleep(59 * time.Second)
			send(c, "x")
			expect(t, far, "x")
		}
		send(far, okResponse)
		expect(t, c, okResponse)
		far.Close()
	})
}

// TestClientLeaves is S30 for HTTP: the dial ends with its client. A whole request in absolute form is answered to a
// client that ends its stream, which may be all that it has done.
func TestClientLeaves(t *testing.T) {
	for _, tt := range []struct {
		name, said string
		ends       time.Duration
	}{
		{"CONNECT", connectRequest, watchDelay},
		{"half a body", post("Content-Length: 4\r\n", ""), watchDelay},
		{"whole request", getRequest, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan error, 1)
				s := serve(t, Config{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
					<-ctx.Done()
					ended <- context.Cause(ctx)
					return nil, ctx.Err()
				}})
				defer s.end(t)
				c := s.connect()
				begin := time.Now()
				go func() {
					_, _ = io.WriteString(c, tt.said)
					_ = c.Close()
				}()
				cause := <-ended
				if took := time.Since(begin); took != tt.ends || (cause == errLeft) != (tt.ends == watchDelay) {
					t.Errorf("the dial ended after %v with %v, want %v", took, cause, tt.ends)
				}
			})
		})
	}
}

// TestHalfClosedClient has a client that ends its stream behind its request. It gets its answer, but not for ever.
func TestHalfClosedClient(t *testing.T) {
	for _, after := range []time.Duration{59 * time.Second, 61 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			near, far := newMemPair()
			s := serve(t, Config{Dial: dialTo(near)})
			defer s.end(t)
			c := s.connect()
			defer c.Close()
			send(c, getRequest)
			expect(t, far, getAtFar)
			_ = c.CloseWrite()
			timer := time.AfterFunc(after, func() { _, _ = io.WriteString(far, okResponse) })
			defer timer.Stop()
			if after < time.Minute {
				expect(t, c, okResponse)
			} else {
				expect(t, c, refused(504, "http_response_timeout", "the origin did not respond in time", kept))
			}
			expectEnd(t, c, time.Second)
			far.Close()
		})
	}
}

// TestIdleClientsAreEvicted has clients that were served and stay: the next ones take their place.
func TestIdleClientsAreEvicted(t *testing.T) {
	const most = 3
	synctest.Test(t, func(t *testing.T) {
		o := &origins{t: t, scripts: [][]step{getSteps, getSteps, getSteps, getSteps, getSteps}}
		s := serve(t, Config{Dial: o.dial, MaxHandshakes: most})
		defer s.end(t)
		var clients []*memConn
		for range most + 2 {
			c := s.connect()
			defer c.Close()
			send(c, getRequest)
			expect(t, c, okResponse)
			synctest.Wait()
			clients = append(clients, c)
		}
		expectEnd(t, clients[0], time.Second)
		expectEnd(t, clients[1], time.Second)
		if got := waitStats(s); got.Evicted != 2 || got.Handshakes != most || got.Unfinished != 0 {
			t.Errorf("%d evicted, %d handshakes, %d unfinished; want 2, %d and 0", got.Evicted, got.Handshakes, got.Unfinished, most)
		}
	})
}

// TestServeEndsBetweenRequests has one client that waits and one that is being served when Serve is told to end.
func TestServeEndsBetweenRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := newMemPair()
		s := serve(t, Config{Dial: dialTo(near)})
		idle, served := s.connect(), s.connect()
		defer idle.Close()
		defer served.Close()
		send(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		expect(t, idle, refused(400, "http_request_error", usage, kept))
		send(served, getRequest)
		expect(t, far, getAtFar)
		synctest.Wait()

		begin := time.Now()
		s.cancel()
		expectEnd(t, idle, time.Second)
		send(far, okResponse)
		expect(t, served, closing(okResponse))
		expectEnd(t, served, time.Second)
		served.Close()
		far.Close()
		if err := <-s.done; err != nil || time.Since(begin) != 0 {
			t.Errorf("Serve: %v after %v, want no error at once", err, time.Since(begin))
		}
	})
}

// TestServeCutsOffExchanges ends Serve without grace, in every stage of an exchange.
func TestServeCutsOffExchanges(t *testing.T) {
	for i, said := range []string{getRequest[:20], getRequest, post("Content-Length: 9\r\n", "body"), connectRequest} {
		for _, dial := range []Dial{hang, (&oracle{}).dial} {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := serve(t, Config{Dial: dial, GraceTimeout: -1})
					c := s.connect()
					defer c.Close()
					send(c, said)
					go func() { _, _ = io.Copy(io.Discard, c) }()
					synctest.Wait()
					begin := time.Now()
					s.end(t)
					if took := time.Since(begin); took != 0 {
						t.Errorf("Serve returned after %v, want at once", took)
					}
				})
			})
		}
	}
}
