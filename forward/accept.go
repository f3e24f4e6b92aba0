package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// How long an Acceptor waits after an error, doubling from the first to the last.
const (
	minAcceptDelay = 5 * time.Millisecond
	maxAcceptDelay = time.Second
)

// maxIdleWorkers is how many goroutines of a listener wait for another connection when theirs has ended: their stack has
// grown already, and to grow it is a twentieth of what a short connection costs.
const maxIdleWorkers = 8

const defaultGrace = 30 * time.Second

// Acceptor takes connections from listeners and has each served in a goroutine of its own. The zero value is ready; one
// Acceptor can serve many listeners. It must not be copied, and its fields not changed, once Serve was called.
type Acceptor struct {
	// GraceTimeout is how long connections may go on after Serve was told to end. 0 means 30 seconds, negative not at all.
	GraceTimeout time.Duration
	// Logger is told what goes wrong with a listener, and of panics; nil discards.
	Logger *slog.Logger

	accepted, failed, panics atomic.Uint64
}

// AcceptorStats is what an Acceptor has seen so far.
type AcceptorStats struct {
	Accepted     uint64 // connections taken from the listeners
	AcceptErrors uint64 // times that a listener had none to give
	Panics       uint64 // connections ended by a panic
}

// Stats returns the counters. Each is exact, though not all are of the same instant.
func (a *Acceptor) Stats() AcceptorStats {
	return AcceptorStats{Accepted: a.accepted.Load(), AcceptErrors: a.failed.Load(), Panics: a.panics.Load()}
}

// Serve accepts connections from ln and calls handle for each, until ctx ends; then it closes ln, and after the grace time
// ends the context that handle was given. It returns nil when all calls of handle have returned; each connection is closed
// then. It returns an error only if ln was closed by someone else. Any other error of Accept, such as too many open files,
// is waited out. A panic in handle ends its connection alone.
func (a *Acceptor) Serve(ctx context.Context, ln net.Listener, handle func(ctx context.Context, c net.Conn)) error {
	defer ln.Close()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()

	connCtx, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var workers sync.WaitGroup
	idle := make(chan struct{}, maxIdleWorkers)
	next := make(chan net.Conn)
	err := a.accept(ctx, ln, func(c net.Conn) {
		select {
		case next <- c:
			return
		default:
		}
		workers.Add(1)
		// One function with one defer, since each connection has this on its stack: more, and the stack is twice as large.
		go func() {
			defer func() {
				if v := recover(); v != nil {
					survived(v, &a.panics, a.Logger)
				}
				if c != nil {
					_ = c.Close()
				}
				workers.Done()
			}()
			for c != nil {
				handle(connCtx, c)
				_ = c.Close()
				c = await(next, idle)
			}
		}()
	})
	close(next)

	grace := time.AfterFunc(max(standard(a.GraceTimeout, defaultGrace), 0), cut)
	defer grace.Stop()
	workers.Wait()
	return err
}

// accept calls start for each connection until ctx ends or ln is closed.
func (a *Acceptor) accept(ctx context.Context, ln net.Listener, start func(net.Conn)) error {
	var delay time.Duration
	for {
		conn, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("forward: %w", err)
		case err == nil:
			delay = 0
			a.accepted.Add(1)
			start(conn)
			continue
		}
		// accept(2) can fail for what a single client or the network does, or because descriptors are used up for now: all
		// of it passes.
		a.failed.Add(1)
		if delay == 0 {
			logger(a.Logger).Warn("can't accept connections for now", "listener", ln.Addr(), "error", err)
		}
		delay = min(max(2*delay, minAcceptDelay), maxAcceptDelay)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(delay):
		}
	}
}

// await returns the next connection for a worker, or nil if it has to end, as so many wait already that idle is full.
func await(next <-chan net.Conn, idle chan struct{}) net.Conn {
	select {
	case idle <- struct{}{}:
	default:
		return nil
	}
	defer func() { <-idle }()
	return <-next
}

// survive ends a panic, and with it only the connection that it is deferred for.
func survive(panics *atomic.Uint64, l *slog.Logger) {
	if v := recover(); v != nil {
		survived(v, panics, l)
	}
}

// survived counts and logs a panic.
func survived(v any, panics *atomic.Uint64, l *slog.Logger) {
	panics.Add(1)
	logger(l).Error("a connection ended by a panic", "panic", v, "stack", string(debug.Stack()))
}

// logger is l, or one that discards.
func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}

// standard reads a field of which zero means a standard value.
func standard[T int | time.Duration](field, value T) T {
	if field == 0 {
		return value
	}
	return field
}
