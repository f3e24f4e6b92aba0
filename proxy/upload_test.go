package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// dialTo is a Dial that hands out one connection.
func dialTo(near net.Conn) Dial {
	return func(context.Context, string, string) (net.Conn, error) { return near, nil }
}

// TestH18Chunks reads with net/http what an origin gets of a request in chunks, in every way that it can arrive: the
// extensions are gone, and the trailers are those that a trailer section may have.
func TestH18Chunks(t *testing.T) {
	said := post("Transfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n", "3;ext=\"1\"\r\nabc\r\n00A;\r\n0123456789\r\n000\r\n"+
		"X-Sum: 1\r\nContent-Length: 9\r\nHost: evil\r\nProxy-Authorization: a\r\nx-sum:  2 \r\n\r\n")
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := newMemPair()
				s := serve(t, Config{Dial: dialTo(near)})
				defer s.end(t)
				c := s.connect()
				defer c.Close()
				go func() {
					defer far.Close()
					r, err := http.ReadRequest(bufio.NewReader(far))
					if err != nil {
						t.Errorf("read the request: %v", err)
						return
					}
					body, err := io.ReadAll(r.Body)
					if string(body) != "abc0123456789" || err != nil {
						t.Errorf("the body is %q, error %v", body, err)
					}
					if got := r.Trailer; len(got) != 1 || !slices.Equal(got["X-Sum"], []string{"1", "2"}) {
						t.Errorf("the trailers are %v", got)
					}
					_, _ = io.WriteString(far, okResponse)
				}()
				mode.run(t, c, []turn{{said, okResponse}})
			})
		})
	}
}

// TestH18Bodies has bodies of many sizes in both directions, in each framing that they can have.
func TestH18Bodies(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		for _, size := range append(earlySizes, bodyBuffer-1, bodyBuffer, bodyBuffer+1) {
			t.Run(fmt.Sprintf("%d/%v", size, chunked), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					near, far := newMemPair()
					s := serve(t, Config{Dial: dialTo(near)})
					defer s.end(t)
					c := s.connect()
					defer c.Close()
					up, down := noise(10, size), noise(11, size)
					length := int64(size)
					if chunked {
						length = -1
					}
					go func() {
						defer far.Close()
						r, err := http.ReadRequest(bufio.NewReader(far))
						if err != nil {
							t.Errorf("read the request: %v", err)
							return
						}
						got, err := io.ReadAll(r.Body)
						if !bytes.Equal(got, up) || err != nil || r.ContentLength != length {
							t.Errorf("seed 10: the origin read %d bytes, error %v; want %d", len(got), err, size)
						}
						resp := http.Response{ProtoMajor: 1, ProtoMinor: 1, StatusCode: 200, Body: io.NopCloser(bytes.NewReader(down)), ContentLength: length}
						if chunked {
							resp.TransferEncoding = []string{"chunked"}
						}
						_ = resp.Write(far)
					}()
					request, _ := http.NewRequest("PUT", "http://example.com/", struct{ io.Reader }{bytes.NewReader(up)})
					request.ContentLength = length
					go func() { _ = request.WriteProxy(c) }()
					resp, err := http.ReadResponse(bufio.NewReader(c), request)
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(resp.Body)
					if !bytes.Equal(got, down) || err != nil || resp.ContentLength != length || resp.Close {
						t.Errorf("seed 11: the client read %d bytes, error %v, closing %v; want %d", len(got), err, resp.Close, size)
					}
					if got := waitStats(s); got.Up != int64(size) || got.Down != int64(size) || got.Statuses[200] != 1 {
						t.Errorf("counted %d bytes up, %d down, statuses %v; want %d each and one 200", got.Up, got.Down, got.Statuses, size)
					}
				})
			})
		}
	}
}

// waitStats returns the counters when nothing goes on any more.
func waitStats(s *served) Stats {
	synctest.Wait()
	return s.Stats()
}

// TestH18Streams has parts of a body that must not wait for more.
func TestH18Streams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := newMemPair()
		s := serve(t, Config{Dial: dialTo(near)})
		defer s.end(t)
		c := s.connect()
		defer c.Close()
		send(c, post("Transfer-Encoding: chunked\r\n", ""))
		expect(t, far, "POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n"+closeEnd)
		send(far, "HTTP/1.1 200 OK\r\n\r\n")
		expect(t, c, closing("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"))
		for range 3 {
			time.Sleep(50 * time.Second) // less than any limit
			send(c, "4\r\nping\r\n")
			expect(t, far, "4\r\nping\r\n")
			send(far, "pong")
			expect(t, c, "4\r\npong\r\n")
		}
		send(c, "0\r\n\r\n")
		expect(t, far, "0\r\n\r\n")
		far.Close()
		expect(t, c, "0\r\n\r\n")
		expectEnd(t, c, time.Second)
	})
}

// TestH13 has a client that waits for 100 before it sends the body, or does not.
func TestH13(t *testing.T) {
	request := post("Expect: 100-Continue\r\nContent-Length: 4\r\n", "")
	atFar := "POST / HTTP/1.1\r\nHost: example.com\r\nExpect: 100-Continue\r\nContent-Length: 4\r\n" + closeEnd
	start := func(t *testing.T) (s *served, c, far *memConn) {
		near, far := newMemPair()
		s = serve(t, Config{Dial: dialTo(near)})
		c = s.connect()
		send(c, request)
		expect(t, far, atFar)
		return s, c, far
	}
	t.Run("100", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, c, far := start(t)
			defer s.end(t)
			defer c.Close()
			send(far, "HTTP/1.1 100 Continue\r\n\r\n")
			expect(t, c, "HTTP/1.1 100 Continue\r\n\r\n")
			send(c, "body")
			expect(t, far, "body")
			send(far, okResponse)
			expect(t, c, okResponse)
			far.Close()
		})
	})
	t.Run("417", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, c, far := start(t)
			defer s.end(t)
			defer c.Close()
			send(far, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
			expect(t, c, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			expectEnd(t, c, time.Second) // whether the body comes or a request is not known
			expectEnd(t, far, time.Second)
		})
	})
	t.Run("silent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, c, far := start(t)
			defer s.end(t)
			defer c.Close()
			time.Sleep(time.Second) // as long as curl waits
			begin := time.Now()
			send(c, "body")
			expect(t, far, "body")
			send(far, okResponse)
			expect(t, c, okResponse)
			if took := time.Since(begin); took != 0 {
				t.Errorf("stalled for %v", took)
			}
			far.Close()
		})
	})
}

// TestH11 has responses to requests whose body is still to come: what comes must not be taken for a request.
func TestH11(t *testing.T) {
	for _, tt := range []struct {
		name  string
		users Users
		dial  error
		from  string // the origin
		hears string
	}{
		{name: "407", users: users, hears: loginRefused(noName)},
		{name: "403", dial: syscall.EACCES, hears: refused(403, "http_request_denied", "a rule forbids this target")},
		{name: "413 of the origin", from: "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", hears: "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		{name: "rubbish of the origin", from: "rubbish\r\n", hears: refused(502, "http_protocol_error", badFar)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := newMemPair()
				dials := 0
				s := serve(t, Config{Users: tt.users, Dial: func(context.Context, string, string) (net.Conn, error) {
					dials++
					return near, tt.dial
				}})
				defer s.end(t)
				c := s.connect()
				defer c.Close()
				if tt.from != "" {
					go func() {
						_, _ = io.ReadFull(far, make([]byte, 20))
						_, _ = io.WriteString(far, tt.from)
						far.Close()
					}()
				}
				body := strings.Repeat(with(getRequest, annSecret), 1000) // as much as no buffer takes
				send(c, post(fmt.Sprintf("Content-Length: %d\r\n", len(body)), body))
				expect(t, c, tt.hears)
				expectEnd(t, c, time.Second)
				if dials > 1 {
					t.Errorf("%d dials: the body was taken for requests", dials)
				}
			})
		})
	}
}

// TestBodyBreaksOff has requests that don't come to their end. The origin must notice that.
func TestBodyBreaksOff(t *testing.T) {
	const early = "the request's body ended too early"
	for _, tt := range []struct{ name, said, hears string }{
		{"length", post("Content-Length: 9\r\n", "body"), refused(400, "http_request_error", early)},
		{"chunk", post("Transfer-Encoding: chunked\r\n", "9\r\nbody"), refused(400, "http_request_error", early)},
		{"chunk size", post("Transfer-Encoding: chunked\r\n", "4\r\nbody\r\n0"), refused(400, "http_request_error", early)},
		{"trailers", post("Transfer-Encoding: chunked\r\n", "4\r\nbody\r\n0\r\nA: b\r\n"), refused(400, "http_request_error", early)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := newMemPair()
				s := serve(t, Config{Dial: dialTo(near)})
				defer s.end(t)
				c := s.connect()
				defer c.Close()
				go func() {
					_, _ = io.WriteString(c, tt.said)
					_ = c.CloseWrite()
				}()
				heard := make(chan error, 1)
				go func() {
					defer far.Close()
					r, err := http.ReadRequest(bufio.NewReader(far))
					if err == nil {
						_, err = io.ReadAll(r.Body)
					}
					heard <- err
				}()
				expect(t, c, tt.hears)
				expectEnd(t, c, time.Second)
				if err := <-heard; err == nil {
					t.Error("the origin took the part for the whole")
				}
			})
		})
	}
}

// TestPanicEndsOneExchange is P-3 for the places of an exchange where a panic can come from.
func TestPanicEndsOneExchange(t *testing.T) {
	request := post("Content-Length: 9\r\n", "body")
	for _, tt := range []struct {
		name        string
		client, far int // reads before the panic
	}{
		{"after the head, during the dial", 1, 100},
		{"in the body of the request", 2, 100},
		{"in the response", 100, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := newMemPair()
				s := serve(t, Config{Dial: func(context.Context, string, string) (net.Conn, error) {
					time.Sleep(time.Second) // so that the client is read from meanwhile, once
					return &panicConn{near, tt.far}, nil
				}})
				defer s.end(t)
				client, server := newClientPair("127.0.0.1")
				defer client.Close()
				s.conns <- &panicConn{server, tt.client}
				send(client, request)
				go func() { _, _ = io.Copy(io.Discard, far) }()
				_, _ = io.Copy(io.Discard, client)
				if got := waitStats(s); got.Panics != 1 || got.Handshakes != 0 || got.Conns != 0 {
					t.Errorf("%d panics counted, %d handshakes and %d connections left; want 1, 0 and 0", got.Panics, got.Handshakes, got.Conns)
				}
			})
		})
	}
}
