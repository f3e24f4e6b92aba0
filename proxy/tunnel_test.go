package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestH1 has data right behind the request while the dial takes a second: it must arrive once and in order. Then it has
// a half-close: what the target says after it must arrive too.
func TestH1(t *testing.T) {
	for _, size := range earlySizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				far := make(chan *memConn, 1)
				s := serve(t, Config{Dial: func(context.Context, string, string) (net.Conn, error) {
					time.Sleep(time.Second)
					near, target := newMemPair()
					far <- target
					return near, nil
				}})
				defer s.end(t)
				c := s.connect()
				defer c.Close()
				early, later := noise(8, size), "later"
				go func() {
					_, _ = c.Write(append([]byte(connectRequest), early...))
					_, _ = io.WriteString(c, later)
					_ = c.CloseWrite()
				}()
				expect(t, c, established)
				target := <-far
				got, err := io.ReadAll(target)
				if want := append(early, later...); !bytes.Equal(got, want) || err != nil {
					t.Errorf("seed 8: the target read %d bytes with sha256 %x, error %v; want %d with %x",
						len(got), sha256.Sum256(got), err, len(want), sha256.Sum256(want))
				}
				send(target, "answer")
				expect(t, c, "answer")
				target.Close()
				expectEnd(t, c, time.Second)
			})
		})
	}
}

// TestH1Refused has the same, but no target: the client must be able to write all of it and read the refusal, and what it
// has written must not be taken for requests.
func TestH1Refused(t *testing.T) {
	for _, early := range []string{string(noise(9, 1<<20)), getRequest} {
		synctest.Test(t, func(t *testing.T) {
			dials := 0
			s := serve(t, Config{Dial: func(context.Context, string, string) (net.Conn, error) {
				dials++
				time.Sleep(time.Second)
				return nil, errno(syscall.ECONNREFUSED)
			}})
			defer s.end(t)
			c := s.connect()
			defer c.Close()
			written := make(chan error, 1)
			go func() {
				_, err := io.WriteString(c, connectRequest+early)
				written <- err
			}()
			expect(t, c, refused(502, "connection_refused", "the target refused the connection"))
			expectEnd(t, c, time.Second)
			if err := <-written; err != nil {
				t.Errorf("write early data: %v", err)
			}
			if dials != 1 {
				t.Errorf("%d dials, want 1", dials)
			}
		})
	}
}

// TestH12EarlyData has a client that does not wait for the answer to its CONNECT, and is asked to log in. What it has sent
// already is for its target, so it must not be read as the next request.
func TestH12EarlyData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origins{t: t}
		s := serve(t, Config{Users: users, Dial: o.dial})
		defer s.end(t)
		c := s.connect()
		defer c.Close()
		send(c, connectRequest+with(getRequest, annSecret))
		expect(t, c, loginRefused(noName))
		expectEnd(t, c, time.Second)
		o.check(nil)
	})
}

// TestH10 has a WebSocket by CONNECT and by Upgrade, with frames that come together with the heads before them, and a
// half-close in each direction.
func TestH10(t *testing.T) {
	const switched = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	for _, tt := range []struct {
		name     string
		says     string // the client, without its first frame
		before   string // what it hears before the origin has said anything
		hears    string
		atOrigin string
		answer   string // of the origin
	}{
		{"CONNECT", connectRequest + upgradeFar, established, switched, upgradeFar, switched},
		{
			"Upgrade", upgrade, "", switched, upgradeFar,
			"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nSec-WebSocket-Accept: b\r\n\r\n",
		},
	} {
		for _, clientFirst := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", tt.name, clientFirst), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					near, far := newMemPair()
					s := serve(t, Config{Dial: func(context.Context, string, string) (net.Conn, error) { return near, nil }})
					defer s.end(t)
					c := s.connect()
					defer c.Close()
					defer far.Close()
					send(c, tt.says+"frame 1")
					expect(t, c, tt.before)
					expect(t, far, tt.atOrigin)
					synctest.Wait()
					send(far, tt.answer+"frame 2")
					expect(t, c, tt.hears+"frame 2")
					expect(t, far, "frame 1")

					time.Sleep(time.Hour) // it may be silent: only the relay's limits hold
					first, second := c, far
					if !clientFirst {
						first, second = far, c
					}
					send(first, "last words")
					expect(t, second, "last words")
					_ = first.CloseWrite()
					expectEnd(t, second, time.Second)
					_ = second.SetReadDeadline(time.Time{})
					send(second, "answer")
					expect(t, first, "answer")
					_ = second.CloseWrite()
					expectEnd(t, first, time.Second)
				})
			})
		}
	}
}
