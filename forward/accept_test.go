package forward

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// listener is one in memory: Accept returns what the test gives it.
type listener struct {
	conns  chan net.Conn
	errs   chan error
	closed chan struct{}
	close  sync.Once
}

func newListener() *listener {
	return &listener{conns: make(chan net.Conn), errs: make(chan error), closed: make(chan struct{})}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.conns:
		return c, nil
	case err := <-l.errs:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.close.Do(func() { close(l.closed) }) // the end of the context and Serve may both come to it
	return nil
}

func (l *listener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// TestL4 has a listener that can't accept for a while.
func TestL4(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ln := newListener()
		var log strings.Builder
		a := &Acceptor{Logger: textLogger(&log)}
		served := make(chan net.Conn)
		done := make(chan error, 1)
		go func() {
			done <- a.Serve(ctx, ln, func(_ context.Context, c net.Conn) { served <- c })
		}()
		begin := time.Now()
		const failures = 12
		for range failures {
			ln.errs <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		}
		client, near := newMemPair()
		ln.conns <- near
		if got := <-served; got != net.Conn(near) {
			t.Errorf("served %v", got)
		}
		expectEOF(t, client)
		// 5 ms, doubling eight times to a second, which three more waits take.
		if took, want := time.Since(begin), 1275*time.Millisecond+4*time.Second; took != want {
			t.Errorf("served after %v, want %v", took, want)
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings in a row, want 1:\n%s", n, &log)
		}
		begin = time.Now()
		ln.errs <- syscall.EMFILE
		ln.errs <- syscall.EMFILE
		if took := time.Since(begin); took != minAcceptDelay {
			t.Errorf("waited %v after the next error, want %v once more", took, minAcceptDelay)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if s := a.Stats(); s != (AcceptorStats{Accepted: 1, AcceptErrors: failures + 2}) {
			t.Errorf("stats are %+v", s)
		}
	})
}

func TestAcceptorEnds(t *testing.T) {
	for _, c := range []struct {
		name  string
		grace time.Duration // the field
		want  time.Duration
	}{{"default", 0, 30 * time.Second}, {"own", time.Second, time.Second}, {"none", -1, 0}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				ln := newListener()
				a := &Acceptor{GraceTimeout: c.grace}
				done := make(chan error, 1)
				go func() {
					done <- a.Serve(ctx, ln, func(ctx context.Context, _ net.Conn) { <-ctx.Done() })
				}()
				client, near := newMemPair()
				ln.conns <- near
				synctest.Wait()
				cancel()
				begin := time.Now()
				if err := <-done; err != nil {
					t.Errorf("Serve: %v", err)
				}
				if took := time.Since(begin); took != c.want {
					t.Errorf("ended after %v, want %v", took, c.want)
				}
				expectEOF(t, client)
				select {
				case <-ln.closed:
				default:
					t.Error("the listener is open")
				}
			})
		})
	}
}

// TestAcceptorReuse has goroutines serve one connection after another, and not too many wait for one.
func TestAcceptorReuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ln := newListener()
		done := make(chan error, 1)
		release := make(chan struct{})
		go func() {
			done <- new(Acceptor).Serve(ctx, ln, func(context.Context, net.Conn) { <-release })
		}()
		expect := func(want int, when string) {
			t.Helper()
			synctest.Wait()
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			if n := strings.Count(string(stacks), "forward.await("); n != want {
				t.Errorf("%d goroutines wait %s, want %d", n, when, want)
			}
		}
		serve := func() {
			_, near := newMemPair()
			ln.conns <- near
		}
		for range maxIdleWorkers + 10 {
			serve()
		}
		expect(0, "while all serve")
		for range maxIdleWorkers + 10 {
			release <- struct{}{}
		}
		expect(maxIdleWorkers, "after many connections")
		serve()
		expect(maxIdleWorkers-1, "while one serves")
		release <- struct{}{}
		expect(maxIdleWorkers, "after one more")
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		expect(0, "after the end")
	})
}

// TestAcceptorListenerClosed has somebody else close the listener.
func TestAcceptorListenerClosed(t *testing.T) {
	ln := newListener()
	ln.Close()
	err := new(Acceptor).Serve(t.Context(), ln, func(context.Context, net.Conn) {})
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v, want net.ErrClosed", err)
	}
}
