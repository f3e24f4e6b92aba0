// Package forward carries connections: Relay copies between two of them until both are done, Forward does so between a
// listener and a target, and Gateway between the peers of a tunnel and what its rules allow of the host's network.
//
// It knows no protocol and opens no socket: listeners and flows come from the caller, and targets from the caller's
// functions. Start at [Relay.Run], [Forward.Serve] or [Gateway.Serve]; [Early] gives a Relay bytes that were read ahead
// while the caller negotiated.
package forward

import (
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"time"
)

const (
	defaultIdle       = 2 * time.Hour
	defaultHalfClosed = 60 * time.Second
)

// ErrIdle is what [Relay.Run] returns when an idle limit ended the relay.
var ErrIdle = errors.New("forward: no data within the idle limit")

// Relay copies between pairs of connections. The zero value is ready; its runs share one bounded pool of buffers, so one
// Relay serves many listeners. It must not be copied, and its fields not changed, once Run was called.
type Relay struct {
	// IdleTimeout ends a run in which no byte moved, either way, for so long. 0 means 2 hours, negative no limit.
	IdleTimeout time.Duration

	// HalfClosedTimeout takes the place of a longer IdleTimeout once one direction is over. A peer that closed for good
	// looks like one that only has no more to send, so this is what ends the former. 0 means 60 seconds, negative no limit.
	HalfClosedTimeout time.Duration

	// MaxBuffers limits the 64 KiB buffers in use by all runs together. A run holds one for each direction in which data
	// is on its way, and none while it waits for data; when all are in use it makes do with 4 KiB of its own, so that
	// clients who stop reading slow the others down and never stop them. 0 means 512 (32 MiB), negative none.
	MaxBuffers int

	buffers pool
}

// Traffic is what a run carried, in bytes.
type Traffic struct {
	Up   int64 // from the client to the target
	Down int64 // from the target to the client
}

// Run copies between client and target until both have ended their streams, and closes both in every case. The caller's
// goroutine carries one direction and one more the other; neither outlives the call.
//
// The end of one stream is passed on (see [CloseWrite]) while the other direction goes on. A stream that breaks off, by
// a reset, an idle limit or the end of ctx, is passed on as a reset where the connection has SetLinger, so that a part
// never looks like the whole.
//
// Run waits for data without a buffer on a *net.TCPConn, a *net.UnixConn and whatever has a method WaitReadable() error,
// which returns when Read would not block, and must end as Read does by deadline and Close. Others are read through 4 KiB.
//
// The error is nil when both streams ended, [ErrIdle] after an idle limit, the cause of ctx when ctx ended, and else
// the first failure of a connection. A panic in a connection's method is passed on to the caller.
func (r *Relay) Run(ctx context.Context, client, target net.Conn) (Traffic, error) {
	p := newPair(r, client, target)
	stop := context.AfterFunc(ctx, func() { p.end(context.Cause(ctx)) })
	defer stop()

	var down sync.WaitGroup
	down.Go(func() { p.carry(p.down) })
	p.carry(p.up)
	down.Wait()
	p.end(nil)

	if p.panicked != nil {
		panic(p.panicked)
	}
	return Traffic{Up: p.up.bytes, Down: p.down.bytes}, p.err
}

// halfClosed is the limit for a run of which one direction is over.
func (r *Relay) halfClosed() time.Duration {
	return min(limit(r.HalfClosedTimeout, defaultHalfClosed), r.idle())
}

// idle is the limit for a run of which both directions are open.
func (r *Relay) idle() time.Duration {
	return limit(r.IdleTimeout, defaultIdle)
}

// limit reads a field of which zero means standard and a negative value none.
func limit(field, standard time.Duration) time.Duration {
	switch {
	case field == 0:
		return standard
	case field < 0:
		return math.MaxInt64
	}
	return field
}
