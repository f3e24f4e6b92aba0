package forward

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// running is a Run in its own goroutine, and the far ends of both its connections.
type running struct {
	done    chan struct{}
	traffic Traffic
	err     error
	panic   any
}

func start(ctx context.Context, r *Relay, client, target net.Conn) *running {
	run := &running{done: make(chan struct{})}
	go func() {
		defer close(run.done)
		defer func() { run.panic = recover() }()
		run.traffic, run.err = r.Run(ctx, client, target)
	}()
	return run
}

// wait returns what Run returned.
func (r *running) wait(t *testing.T) (Traffic, error) {
	t.Helper()
	<-r.done
	if r.panic != nil {
		t.Fatalf("Run panicked: %v", r.panic)
	}
	return r.traffic, r.err
}

// mem starts a Run over in-memory connections, and returns its far ends.
func mem(ctx context.Context, r *Relay) (client, target *memConn, run *running) {
	client, nearClient := newMemPair()
	target, nearTarget := newMemPair()
	return client, target, start(ctx, r, newWaitConn(nearClient), newWaitConn(nearTarget))
}

// write writes s to c.
func write(t *testing.T, c io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatalf("write %q: %v", s, err)
	}
}

// expect reads s from c.
func expect(t *testing.T, c io.Reader, s string) {
	t.Helper()
	got := make([]byte, len(s))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != s {
		t.Fatalf("read %q, error %v; want %q", got[:n], err, s)
	}
}

// expectEOF reads the end of the stream from c.
func expectEOF(t *testing.T, c io.Reader) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("read %d bytes, error %v; want the end of the stream", n, err)
	}
}

// TestF1 sends a different stream each way at once. Each side ends its stream when all is written and reads on until the
// other did so too: any order of the two ends must do.
func TestF1(t *testing.T) {
	const seed1, seed2, size = 1, 2, 8<<20 + 4711
	for _, tt := range []struct {
		name string
		wrap func(net.Conn) net.Conn
	}{
		{"sockets", func(c net.Conn) net.Conn { return c }},
		{"wrapped sockets", func(c net.Conn) net.Conn { return wrapped{c} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, nearClient := newTCPPair(t)
			target, nearTarget := newTCPPair(t)
			run := start(t.Context(), new(Relay), tt.wrap(nearClient), tt.wrap(nearTarget))

			var all sync.WaitGroup
			for _, side := range []struct {
				conn       *net.TCPConn
				sends, get uint64
			}{{client, seed1, seed2}, {target, seed2, seed1}} {
				all.Go(func() {
					if _, err := io.Copy(side.conn, stream(side.sends, size)); err != nil {
						t.Errorf("seed %d: write: %v", side.sends, err)
					}
					if err := side.conn.CloseWrite(); err != nil {
						t.Errorf("seed %d: end the stream: %v", side.sends, err)
					}
				})
				all.Go(func() {
					got, want := sum(side.conn), sum(stream(side.get, size))
					if !bytes.Equal(got, want) {
						t.Errorf("seed %d: received a stream with sha256 %x, want %x", side.get, got, want)
					}
				})
			}
			all.Wait()
			if traffic, err := run.wait(t); traffic != (Traffic{size, size}) || err != nil {
				t.Errorf("Run = %+v, %v; want %d bytes each way and no error", traffic, err, size)
			}
		})
	}
}

// stream returns size bytes that depend on seed.
func stream(seed uint64, size int64) io.Reader {
	var key [32]byte
	key[0] = byte(seed)
	return io.LimitReader(rand.NewChaCha8(key), size)
}

// sum returns the SHA-256 of all that r has.
func sum(r io.Reader) []byte {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return []byte(err.Error())
	}
	return h.Sum(nil)
}

func TestHalfClose(t *testing.T) {
	for _, tt := range []struct {
		name    string
		reverse bool
	}{{"the client first", false}, {"the target first", true}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, target, run := mem(t.Context(), new(Relay))
				first, second := client, target
				if tt.reverse {
					first, second = target, client
				}
				write(t, first, "question")
				first.CloseWrite()
				expect(t, second, "question")
				expectEOF(t, second)
				write(t, second, "answer")
				expect(t, first, "answer")
				second.CloseWrite()
				expectEOF(t, first)
				if _, err := run.wait(t); err != nil {
					t.Errorf("Run: %v; want no error after two ended streams", err)
				}
			})
		})
	}
}

// TestEarlyDataGoesFirst has early data with nothing behind it: waiting for the socket would keep it back.
func TestEarlyDataGoesFirst(t *testing.T) {
	client, nearClient := newTCPPair(t)
	target, nearTarget := newTCPPair(t)
	run := start(t.Context(), new(Relay), Early(nearClient, []byte("early ")), nearTarget)
	expect(t, target, "early ")
	write(t, client, "later")
	client.CloseWrite()
	expect(t, target, "later")
	expectEOF(t, target)
	target.Close()
	if traffic, err := run.wait(t); traffic.Up != int64(len("early later")) || err != nil {
		t.Errorf("Run = %+v, %v", traffic, err)
	}
}

// TestOneExtraGoroutine counts: the caller's goroutine and one more, none before and none after.
func TestOneExtraGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		before := bubbleSize()
		_, _, run := mem(ctx, new(Relay))
		synctest.Wait()
		if n := bubbleSize() - before; n != 2 {
			t.Errorf("Run in a goroutine makes %d goroutines, want 2", n)
		}
		cancel()
		<-run.done
		synctest.Wait()
		if n := bubbleSize() - before; n != 0 {
			t.Errorf("%d goroutines left", n)
		}
	})
}

// bubbleSize counts the goroutines of this test by their headlines in the stack dump. runtime.NumGoroutine would count
// those of other tests that have not quite ended.
func bubbleSize() int {
	dump := make([]byte, 1<<20)
	return bytes.Count(dump[:runtime.Stack(dump, true)], []byte(", synctest bubble "))
}

// TestWriteFailureLetsTheAnswerPass is the server that answers early and stops listening (HTTP 413): the client must get
// the answer although its own stream has nowhere to go.
func TestWriteFailureLetsTheAnswerPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, target, run := mem(t.Context(), new(Relay))
		target.CloseRead()
		write(t, client, "a long upload")
		synctest.Wait()
		write(t, target, "too large")
		target.CloseWrite()
		expect(t, client, "too large")
		expectEOF(t, client)
		traffic, err := run.wait(t)
		if traffic != (Traffic{0, int64(len("too large"))}) || !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Run = %+v, %v; want the answer's bytes and the write's error", traffic, err)
		}
	})
}

// panicConn panics when it is read.
type panicConn struct{ net.Conn }

func (panicConn) Read([]byte) (int, error) { panic("kaboom") }

// TestPanicReachesTheCaller is about the goroutine that nobody else could recover: its panic would end the process.
func TestPanicReachesTheCaller(t *testing.T) {
	for _, inCaller := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			client, nearClient := newMemPair()
			target, nearTarget := newMemPair()
			var c, d net.Conn = nearClient, panicConn{nearTarget}
			if inCaller {
				c, d = panicConn{nearClient}, nearTarget
			}
			run := start(t.Context(), new(Relay), c, d)
			<-run.done
			if err, ok := run.panic.(error); !ok || !strings.Contains(err.Error(), "kaboom") {
				t.Errorf("Run panicked with %v, want the connection's panic", run.panic)
			}
			expectEOF(t, client)
			expectEOF(t, target)
		})
	}
}

func TestContextEndsRun(t *testing.T) {
	for _, before := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			shutdown := errors.New("shutdown")
			if before {
				cancel(shutdown)
			}
			client, target, run := mem(ctx, new(Relay))
			synctest.Wait()
			cancel(shutdown)
			if _, err := run.wait(t); !errors.Is(err, shutdown) {
				t.Errorf("Run: %v, want the cause of the context's end", err)
			}
			expectEOF(t, client)
			expectEOF(t, target)
		})
	}
}

// sleepyConn does not wake its reader when it is closed.
type sleepyConn struct{ *memConn }

func (sleepyConn) Close() error { return nil }

// TestCloseNeedNotWake is about connections of which only the deadline is known to end a waiting call.
func TestCloseNeedNotWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, nearClient := newMemPair()
		_, nearTarget := newMemPair()
		run := start(ctx, new(Relay), sleepyConn{nearClient}, sleepyConn{nearTarget})
		synctest.Wait()
		cancel()
		if _, err := run.wait(t); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
}

// TestUnixSockets has the third kind of connection that says when it is readable.
func TestUnixSockets(t *testing.T) {
	ln, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	target, nearTarget := newTCPPair(t)
	relay := new(Relay)
	run := start(t.Context(), relay, accepted, nearTarget)
	write(t, client, "ping")
	expect(t, target, "ping")
	write(t, target, "pong")
	expect(t, client, "pong")
	holdsNoBuffer(t, relay)
	client.Close()
	expectEOF(t, target)
	target.Close()
	if _, err := run.wait(t); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// holdsNoBuffer waits until every run is back at waiting for data. It fails by the test's own time-out.
func holdsNoBuffer(t *testing.T, r *Relay) {
	t.Helper()
	for r.buffers.taken.Load() != 0 {
		time.Sleep(time.Millisecond)
	}
}
