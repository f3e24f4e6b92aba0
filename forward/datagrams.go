package forward

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// datagrams is a UDP flow: two connections that keep the bounds of datagrams, two directions.
type datagrams struct {
	client, target net.Conn
	place          *place
	buffers        *pool
	oneWay, twoWay time.Duration // idle limits: before the first answer, and after it

	answered atomic.Bool
	up, down tally

	ended sync.Once
	// These are set by ended: what the target failed with, or the panic of a connection, if that ended the flow.
	failure, panicked error
}

// tally is what one direction carried. It is that direction's until the flow is over.
type tally struct {
	bytes   int64
	dropped uint64 // datagrams that the other side does not take
}

// run carries datagrams until the flow is idle, a connection fails, or ctx ends; it closes both. The error is what the
// target failed with, if that was the reason. A panic in a connection's method is passed on.
func (d *datagrams) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { d.end(nil, nil) })
	defer stop()

	var down sync.WaitGroup
	down.Go(func() { d.carry(&d.down, d.target, d.client) })
	_ = d.client.SetReadDeadline(time.Now().Add(d.oneWay)) // from here on, carry puts it off
	d.carry(&d.up, d.client, d.target)
	down.Wait()
	if d.panicked != nil {
		panic(d.panicked)
	}
	return d.failure
}

// carry takes datagrams from src to dst until the flow ends, and ends it.
func (d *datagrams) carry(t *tally, src, dst net.Conn) {
	defer func() {
		if v := recover(); v != nil {
			d.end(nil, fmt.Errorf("%v\n\n%s", v, debug.Stack()))
		}
	}()
	wait := waiter(src)
	for {
		readErr, writeErr := d.move(t, src, dst, wait)
		switch {
		case errors.Is(readErr, os.ErrDeadlineExceeded) && d.putOff():
		case errors.Is(writeErr, syscall.EMSGSIZE), errors.Is(writeErr, syscall.ENOBUFS):
			t.dropped++ // as any network may
		case src == d.target && readErr != nil:
			d.end(readErr, nil)
			return
		case dst == d.target && writeErr != nil:
			d.end(writeErr, nil)
			return
		case readErr != nil, writeErr != nil:
			d.end(nil, nil)
			return
		}
	}
}

// move takes one datagram from src to dst. It has a buffer only while there is one.
func (d *datagrams) move(t *tally, src, dst net.Conn, wait func() error) (readErr, writeErr error) {
	if wait != nil {
		if err := wait(); err != nil {
			return err, nil
		}
	}
	buf := d.buffers.take(math.MaxInt)
	defer d.buffers.give(buf)
	n, err := src.Read(buf[:])
	if err != nil {
		return err, nil
	}
	d.place.touch()
	if src == d.target {
		d.answered.Store(true)
	}
	if _, err := dst.Write(buf[:n]); err != nil {
		return nil, err
	}
	t.bytes += int64(n)
	return nil, nil
}

// putOff sets the deadline at which the flow will be idle, unless it is now.
func (d *datagrams) putOff() bool {
	limit := d.oneWay
	if d.answered.Load() {
		limit = d.twoWay
	}
	left := limit - d.place.idle()
	if left <= 0 {
		return false
	}
	_ = d.client.SetReadDeadline(time.Now().Add(left))
	return true
}

// end closes both connections, and so wakes whoever waits on one. Only the first call has an effect.
func (d *datagrams) end(failure, panicked error) {
	d.ended.Do(func() {
		d.failure, d.panicked = failure, panicked
		for _, c := range []net.Conn{d.client, d.target} {
			_ = c.SetDeadline(time.Unix(1, 0)) // a connection need not wake its callers on Close
			_ = c.Close()
		}
	})
}
