package proxy

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestS27 has many clients that send a byte every 5 seconds. Each is cut off 10 seconds after it came, or earlier when
// there are too many of them; a good client is served meanwhile, at once.
func TestS27(t *testing.T) {
	const slow, maxHandshakes = 500, 100
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Config{Dial: echo, MaxHandshakes: maxHandshakes})
		defer s.end(t)
		var all sync.WaitGroup
		for range slow {
			c := s.connect()
			begin := time.Now()
			all.Go(func() {
				all.Go(func() {
					for {
						if _, err := c.Write([]byte{5}); err != nil {
							return
						}
						time.Sleep(5 * time.Second)
					}
				})
				_, _ = io.Copy(io.Discard, c)
				if took := time.Since(begin); took > 10*time.Second {
					t.Errorf("a slow client was cut off after %v, want 10s at most", took)
				}
				c.Close()
			})
		}
		time.Sleep(time.Second)
		if got := s.Stats(); got.Handshakes != maxHandshakes || got.Evicted != slow-maxHandshakes {
			t.Errorf("%d handshakes, %d evicted; want %d and %d", got.Handshakes, got.Evicted, maxHandshakes, slow-maxHandshakes)
		}

		begin := time.Now()
		c := s.connect()
		send(c, hello+toV4+"ping")
		expect(t, c, welcome+success4+"ping")
		if took := time.Since(begin); took != 0 {
			t.Errorf("a good client waited for %v", took)
		}
		c.Close()

		all.Wait()
		synctest.Wait()
		if got := s.Stats(); got.Handshakes != 0 || got.Conns != 0 || got.Unfinished != slow {
			t.Errorf("%d handshakes and %d connections left, %d counted as unfinished; want 0, 0 and %d",
				got.Handshakes, got.Conns, got.Unfinished, slow)
		}
	})
}

func TestSilentClientIsCutOff(t *testing.T) {
	for _, said := range []string{"", "\x05", hello, hello + "\x05\x01\x00", hello + toV4[:9]} {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, Config{Dial: echo})
			defer s.end(t)
			c := s.connect()
			defer c.Close()
			begin := time.Now()
			send(c, said)
			_, _ = io.Copy(io.Discard, c)
			if took := time.Since(begin); took != 10*time.Second {
				t.Errorf("after % x: cut off after %v, want 10s", said, took)
			}
		})
	}
}

// TestNoDeadlineOnceServed has a client that is silent for long after the reply: only the relay's limits hold then.
func TestNoDeadlineOnceServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Config{Dial: echo})
		defer s.end(t)
		c := s.connect()
		defer c.Close()
		send(c, hello+toV4)
		expect(t, c, welcome+success4)
		time.Sleep(time.Hour)
		send(c, "ping")
		expect(t, c, "ping")
	})
}

// TestS28 has a client that never reads, and a target that sends as fast as it can.
func TestS28(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := newMemPair()
		s := serve(t, Config{Dial: func(context.Context, string, string) (net.Conn, error) { return near, nil }})
		c := s.connect()
		send(c, hello+toV4)
		expect(t, c, welcome+success4)
		sent := 0
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				n, err := far.Write(make([]byte, 1000))
				sent += n
				if err != nil {
					return
				}
			}
		}()
		time.Sleep(time.Minute)
		c.Close()
		<-ended
		if sent > 2*64<<10 {
			t.Errorf("%d bytes were taken from the target, want at most two buffers of 64 KiB", sent)
		}
		s.end(t)
	})
}

// TestMaxConns is the part of S14 and L5 about the cap: reply 01, and a place again when a client has left.
func TestMaxConns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Config{Dial: echo, MaxConns: 1})
		defer s.end(t)
		first := s.connect()
		send(first, hello+toV4+"ping")
		expect(t, first, welcome+success4+"ping")

		second := s.connect()
		defer second.Close()
		send(second, hello+toV4)
		expect(t, second, welcome+failure(1))
		expectEnd(t, second, time.Second)

		_ = first.CloseWrite()
		expectEnd(t, first, time.Second)
		synctest.Wait()
		third := s.connect()
		defer third.Close()
		send(third, hello+toV4+"ping")
		expect(t, third, welcome+success4+"ping")
	})
}

// TestAcceptErrors is L4: the listener is kept, and asked again after 5 ms, then twice that, up to a second.
func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s, err := New(Config{Dial: echo, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		// Ten errors, a connection, an error, and then what comes.
		ln := &timedListener{memListener: newMemListener(), fails: func(call int) bool { return call < 10 || call == 11 }}
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, ln) }()

		c := ln.connect()
		send(c, hello+toV4+"ping")
		expect(t, c, welcome+success4+"ping")
		c.Close()
		synctest.Wait()
		time.Sleep(time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		want := []time.Duration{0, 5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 0, 5}
		for i, d := range want {
			want[i] = d * time.Millisecond
		}
		if !slices.Equal(ln.gaps, want) {
			t.Errorf("Accept was called after %v, want %v", ln.gaps, want)
		}
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%d log lines, want one for each row of errors:\n%s", n, &log)
		}
	})
}

// timedListener fails in some calls of Accept, counted from 0, and notes the time between the calls.
type timedListener struct {
	*memListener
	fails func(call int) bool
	gaps  []time.Duration
	last  time.Time
}

func (l *timedListener) Accept() (net.Conn, error) {
	if l.last.IsZero() {
		l.last = time.Now()
	}
	l.gaps = append(l.gaps, time.Since(l.last))
	l.last = time.Now()
	if l.fails(len(l.gaps) - 1) {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return l.memListener.Accept()
}

func TestServeEndsDuringAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := New(Config{Dial: echo})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		err := s.Serve(ctx, &timedListener{memListener: newMemListener(), fails: func(int) bool { return true }})
		if took := time.Since(begin); err != nil || took != time.Minute {
			t.Errorf("Serve: %v after %v, want no error after 1m", err, took)
		}
	})
}

func TestServeFailsWithItsListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := New(Config{Dial: echo})
		ln := newMemListener()
		ln.Close()
		if err := s.Serve(t.Context(), ln); err == nil {
			t.Error("Serve returned no error although its listener was closed by someone else")
		}
	})
}

// TestServeDrains ends Serve while a client is served: that one may go on for the grace time.
func TestServeDrains(t *testing.T) {
	for _, tt := range []struct {
		name   string
		grace  time.Duration // Config's
		leaves time.Duration // the client, after the end of the context
		want   time.Duration // until Serve returns
	}{
		{"the client ends first", 0, 10 * time.Second, 10 * time.Second},
		{"the default", 0, time.Hour, 30 * time.Second},
		{"own limit", time.Second, time.Hour, time.Second},
		{"no grace", -1, time.Hour, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, Config{Dial: echo, GraceTimeout: tt.grace})
				c := s.connect()
				defer c.Close()
				send(c, hello+toV4+"ping")
				expect(t, c, welcome+success4+"ping")
				idle := s.connect() // in its handshake, which ends after 10 seconds
				defer idle.Close()
				synctest.Wait()

				begin := time.Now()
				s.cancel()
				synctest.Wait()
				select {
				case <-s.closed:
				default:
					t.Error("the listener is open after the end of the context")
				}
				if tt.grace >= 0 {
					send(c, "pong")
					expect(t, c, "pong")
				}
				gone := time.AfterFunc(tt.leaves, func() { c.Close() })
				defer gone.Stop()
				if err := <-s.done; err != nil {
					t.Errorf("Serve: %v", err)
				}
				if took := time.Since(begin); took != tt.want {
					t.Errorf("Serve returned after %v, want %v", took, tt.want)
				}
			})
		})
	}
}

// TestServeCutsOffEveryStage ends Serve during two points of the handshake, a dial, and the time after a refusal.
func TestServeCutsOffEveryStage(t *testing.T) {
	for _, said := range []string{"", hello, hello + toV4, hello + toV4[:8] + "\x00\x00"} {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, Config{Dial: hang, GraceTimeout: -1})
			c := s.connect()
			defer c.Close()
			send(c, said)
			go func() { _, _ = io.Copy(io.Discard, c) }()
			synctest.Wait()
			begin := time.Now()
			s.end(t)
			if took := time.Since(begin); took != 0 {
				t.Errorf("after % x: Serve returned after %v, want at once", said, took)
			}
		})
	}
}

// panicConn panics when it is read for the nth time.
type panicConn struct {
	*memConn
	reads int
}

func (c *panicConn) Read(b []byte) (int, error) {
	if c.reads--; c.reads < 0 {
		panic("kaboom")
	}
	return c.memConn.Read(b)
}

// TestPanicEndsOneConnection is P-3 for each of the places where a panic can come from.
func TestPanicEndsOneConnection(t *testing.T) {
	const request = hello + toV4
	for _, tt := range []struct {
		name  string
		reads int // of the client before it panics
		dial  Dial
	}{
		{"handshake", 0, echo},
		{"dial", 100, func(context.Context, string, string) (net.Conn, error) { panic("kaboom") }},
		{"watch during the dial", 1, hang},
		{"relay, from the target", 100, func(context.Context, string, string) (net.Conn, error) {
			near, _ := newMemPair()
			return &panicConn{near, 0}, nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				bad := true
				s := serve(t, Config{
					Logger:      slog.New(slog.NewTextHandler(&log, nil)),
					DialTimeout: time.Second,
					Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
						if bad {
							return tt.dial(ctx, network, address)
						}
						return echo(ctx, network, address)
					},
				})
				defer s.end(t)
				client, server := newClientPair("127.0.0.1")
				s.conns <- &panicConn{server, tt.reads}
				send(client, request)
				_, _ = io.Copy(io.Discard, client)
				client.Close()
				synctest.Wait()
				if got := s.Stats(); got.Panics != 1 || got.Handshakes != 0 || got.Conns != 0 {
					t.Errorf("%d panics counted, %d handshakes and %d connections left; want 1, 0 and 0",
						got.Panics, got.Handshakes, got.Conns)
				}
				if !strings.Contains(log.String(), "kaboom") || !strings.Contains(log.String(), "Read") && tt.reads < 100 {
					t.Errorf("the log does not tell the panic and its place:\n%s", &log)
				}

				bad = false
				c := s.connect()
				defer c.Close()
				send(c, request+"ping")
				expect(t, c, welcome+success4+"ping")
			})
		})
	}
}

// TestLogsNameNobody has a host name and a client address in every kind of connection: only debug lines may tell them.
func TestLogsNameNobody(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelInfo, slog.LevelDebug} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			s := serve(t, Config{
				Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level})),
				Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
					if strings.HasPrefix(address, "refused") {
						return nil, errno(syscall.ECONNREFUSED)
					}
					return echo(ctx, network, address)
				},
			})
			for _, said := range []string{
				hello + connectTo("served.example"), hello + connectTo("refused.example"), hello + connectTo("malformed. example"),
				hello + "\x05\xff", "GET http://other.example/", "\x05",
			} {
				c := s.connect()
				send(c, said)
				go func() { _, _ = io.Copy(io.Discard, c) }()
				synctest.Wait()
				c.Close()
				synctest.Wait()
			}
			s.end(t)
			lines := strings.Count(log.String(), "\n")
			if level == slog.LevelInfo && lines != 0 {
				t.Errorf("lines above debug:\n%s", &log)
			}
			if level == slog.LevelDebug && lines != 6 {
				t.Errorf("%d debug lines, want one for each of 6 connections:\n%s", lines, &log)
			}
		})
	}
}
