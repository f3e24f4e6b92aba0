package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wimble-proxy/wimble/integration/bench/service"
)

const (
	requestSize = 64
	shortOnes   = 64 // workers for work.Short
	openers     = 16 // workers for work.Hold
	patience    = 20 * time.Second
)

// runLoad is the load generator: for each work that it reads it writes a result. It is a process of its own so that
// the client's CPU is the client's alone.
func runLoad(ctx context.Context, in io.Reader, out io.Writer) error {
	works, results := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var w work
		if err := works.Decode(&w); err != nil {
			return nil // whoever gave work is gone
		}
		r, err := w.do(ctx)
		if err != nil {
			r.Error = err.Error()
		}
		if err := results.Encode(r); err != nil {
			return err
		}
	}
}

// load is work in progress.
type load struct {
	work
	ctx     context.Context
	tasks   sync.WaitGroup
	failure atomic.Pointer[error]

	bytes, failed atomic.Int64
	made          atomic.Uint64 // connections
	counting      atomic.Bool   // while the clock runs
	requests      samples
	connections   samples
}

func (w work) do(ctx context.Context) (result, error) {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{work: w, ctx: ctx}
	defer l.tasks.Wait()
	defer cancel()
	before, _, err := memory(w.PID)
	if err != nil {
		return result{}, err
	}
	if err := l.prepare(); err != nil {
		return result{}, err
	}
	rate := l.Rate / max(1, l.Download+l.Upload)
	for range l.Download {
		l.start(func() error { return l.download(rate) })
	}
	for range l.Upload {
		l.start(func() error { return l.upload(rate) })
	}
	if l.Requests {
		l.start(l.request)
	}
	for range l.Workers {
		l.start(l.connect)
	}
	l.wait(l.Warm)
	r, err := l.measure()
	r.Before = before
	if failure := l.failure.Load(); failure != nil {
		err = *failure
	}
	return r, err
}

// start runs a task that should run until the context ends.
func (l *load) start(task func() error) {
	l.tasks.Go(func() {
		if err := task(); err != nil && l.ctx.Err() == nil {
			l.failure.CompareAndSwap(nil, &err)
		}
	})
}

func (l *load) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-l.ctx.Done():
	}
}

// measure lets the clock run.
func (l *load) measure() (result, error) {
	if err := beginProfile(l.Profile, l.PID); err != nil {
		return result{}, err
	}
	begin, bytes := time.Now(), l.bytes.Load()
	cpu, err := cpuTime(l.PID)
	if err != nil {
		return result{}, err
	}
	l.counting.Store(true)
	for l.wait(l.Time); !l.seen(l.bytes.Load()-bytes) && time.Since(begin) < patience && l.ctx.Err() == nil; {
		l.wait(50 * time.Millisecond)
	}
	l.counting.Store(false)
	used, err := cpuTime(l.PID)
	r := result{
		Seconds: time.Since(begin).Seconds(), CPU: (used - cpu).Seconds(),
		Bytes: l.bytes.Load() - bytes, Failed: l.failed.Load(),
		Requests: l.requests.quantiles(), Connections: l.connections.quantiles(),
	}
	if err == nil {
		r.Memory, r.Peak, err = memory(l.PID)
	}
	if err == nil {
		err = endProfile(l.Profile, l.PID)
	}
	if err == nil && !l.seen(r.Bytes) {
		err = fmt.Errorf("nothing to measure came in %v", patience)
	}
	return r, err
}

// seen reports whether there is something to measure of all that runs: a slice is longer than it should be rather than
// empty.
func (l *load) seen(bytes int64) bool {
	return (bytes > 0 || l.Download+l.Upload == 0) && (l.requests.count() > 0 || !l.Requests) && (l.connections.count() > 0 || l.Workers == 0)
}

// prepare does what comes before the clock.
func (l *load) prepare() error {
	if err := each(l.Short, shortOnes, l.once); err != nil {
		return fmt.Errorf("short connections: %w", err)
	}
	hold := func() error {
		c, err := l.open(service.Echo)
		if err == nil {
			err = ask(c)
		}
		return err
	}
	if err := each(l.Hold, openers, hold); err != nil {
		return fmt.Errorf("idle connections: %w", err)
	}
	stall := func() error {
		c, err := l.open(service.Source)
		if err == nil {
			_, err = c.Write(make([]byte, 8))
		}
		return err
	}
	if err := each(l.Stall, openers, stall); err != nil {
		return fmt.Errorf("stalled readers: %w", err)
	}
	return nil
}

// each calls task n times, from some workers at a time, and returns the first error.
func each(n, workers int, task func() error) error {
	var todo atomic.Int64
	todo.Store(int64(n))
	errs := make(chan error, workers)
	for range workers {
		go func() {
			for todo.Add(-1) >= 0 {
				if err := task(); err != nil {
					todo.Store(0)
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var first error
	for range workers {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}

func (l *load) download(rate int) error {
	c, err := l.open(service.Source)
	if err != nil {
		return err
	}
	if _, err := c.Write(binary.BigEndian.AppendUint64(nil, uint64(rate))); err != nil {
		return err
	}
	b := make([]byte, 256<<10)
	for {
		n, err := c.Read(b)
		l.bytes.Add(int64(n))
		if err != nil {
			return fmt.Errorf("download: %w", err)
		}
	}
}

func (l *load) upload(rate int) error {
	c, err := l.open(service.Sink)
	if err != nil {
		return err
	}
	l.start(func() error {
		b := make([]byte, 64)
		for {
			n, err := c.Read(b)
			l.bytes.Add(int64(n) * service.Confirm)
			if err != nil {
				return fmt.Errorf("upload, confirmations: %w", err)
			}
		}
	})
	return fmt.Errorf("upload: %w", service.Write(c, rate))
}

// request sends requests one after the other.
func (l *load) request() error {
	c, err := l.open(service.Echo)
	if err != nil {
		return err
	}
	for {
		start := time.Now()
		if err := ask(c); err != nil {
			return fmt.Errorf("request: %w", err)
		}
		if l.counting.Load() {
			l.requests.add(time.Since(start))
		}
	}
}

// connect makes connections one after the other. One that fails is counted; that nothing listens ends it.
func (l *load) connect() error {
	for l.ctx.Err() == nil {
		start := time.Now()
		err := l.once()
		switch {
		case l.ctx.Err() != nil:
		case errors.Is(err, errNoProxy):
			return err
		case !l.counting.Load():
		case err != nil:
			l.failed.Add(1)
		default:
			l.connections.add(time.Since(start))
		}
	}
	return nil
}

// once makes a connection, uses it and closes it. They spread over the echo's ports.
func (l *load) once() error {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel() // closes it
	c, err := l.dial(ctx, service.Echo+int(l.made.Load()%service.Echoes))
	if err != nil {
		return err
	}
	if err := ask(c); err != nil {
		return err
	}
	return c.Close()
}

// open connects to a service for as long as the work lasts.
func (l *load) open(port int) (net.Conn, error) { return l.dial(l.ctx, port) }

// dial connects to a service. The connection is closed when the context ends.
func (l *load) dial(ctx context.Context, port int) (net.Conn, error) {
	target := netip.AddrPortFrom(l.Target.Addr(), l.Target.Port()+uint16(port))
	at, proxied := target, len(l.Via) > 0
	if made := l.made.Add(1); proxied {
		at = l.Via[made%uint64(len(l.Via))]
	}
	deadline, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := new(net.Dialer).DialContext(deadline, "tcp", at.String())
	if err != nil {
		if proxied {
			return nil, fmt.Errorf("%w: %w", errNoProxy, err)
		}
		return nil, err
	}
	context.AfterFunc(ctx, func() { c.Close() })
	if proxied {
		_ = c.SetDeadline(time.Now().Add(patience))
		if err := connectVia(c, target); err != nil {
			c.Close()
			return nil, err
		}
		_ = c.SetDeadline(time.Time{})
	}
	return c, nil
}

// errNoProxy: the client does not listen, or has no room.
var errNoProxy = errors.New("no connection to the client")

// ask sends a small request and reads the answer.
func ask(c net.Conn) error {
	var b [requestSize]byte
	if _, err := c.Write(b[:]); err != nil {
		return err
	}
	_, err := io.ReadFull(c, b[:])
	return err
}
