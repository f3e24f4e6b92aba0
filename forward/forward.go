package forward

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"time"
)

const (
	defaultDial  = 30 * time.Second
	defaultConns = 16384
)

// Forward carries each connection of a listener to one target. With a listener of the host and a Dial of the tunnel it is a
// local forward, with a listener of the tunnel and a Dial of the host an exposed service. The target is dialed for each
// connection anew, so that it may come, go and move. It must not be copied, and its fields not changed, once Serve was
// called.
type Forward struct {
	// Dial connects to the target. The network is tcp, the address is Target as it is: whether a name is looked up, and
	// where, is up to Dial. The context has a deadline, and ends when the client is gone.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Target is host:port.
	Target string

	// AllowClients are the networks that clients must come from, or else they are reset.
	AllowClients Clients
	// MaxConns limits the connections of all listeners together; those beyond are reset. 0 means 16384.
	MaxConns int
	// DialTimeout is the time that Dial gets. 0 means 30 seconds, negative no limit.
	DialTimeout time.Duration

	// Acceptor takes the connections, and Relay carries the data. nil means one of this Forward's own, with the default
	// limits.
	Acceptor *Acceptor
	Relay    *Relay
	// Logger gets a debug line for each connection, with its target and its client's address; nil discards.
	Logger *slog.Logger

	acceptor Acceptor
	relay    Relay
	conns    quota
	stats    forwardCounters
}

// ForwardStats is what a Forward has seen so far.
type ForwardStats struct {
	Denied    uint64 // clients whose address is not allowed
	Excess    uint64 // clients for which there was no room
	Abandoned uint64 // clients that were gone before there was a target
	Failed    uint64 // clients whose target could not be reached
	Up, Down  int64  // bytes carried by connections that have ended, to and from the target
	Conns     int    // clients now
}

// forwardCounters are the cumulative ones of ForwardStats, under the same names.
type forwardCounters struct {
	denied, excess, abandoned, failed atomic.Uint64
	up, down                          atomic.Int64
}

// Stats returns the counters. Each is exact, though not all are of the same instant.
func (f *Forward) Stats() ForwardStats {
	return ForwardStats{
		Denied:    f.stats.denied.Load(),
		Excess:    f.stats.excess.Load(),
		Abandoned: f.stats.abandoned.Load(),
		Failed:    f.stats.failed.Load(),
		Up:        f.stats.up.Load(),
		Down:      f.stats.down.Load(),
		Conns:     f.conns.now(),
	}
}

// Serve carries the connections of ln, as [Acceptor.Serve] says. Clients whose target can't be reached are reset.
func (f *Forward) Serve(ctx context.Context, ln net.Listener) error {
	return cmp.Or(f.Acceptor, &f.acceptor).Serve(ctx, ln, f.serve)
}

// serve carries one connection.
func (f *Forward) serve(ctx context.Context, client net.Conn) {
	debug := func(message string, attributes ...any) {
		log := logger(f.Logger)
		if log.Enabled(ctx, slog.LevelDebug) { // or else it is work for nothing
			log.With("client", client.RemoteAddr(), "target", f.Target).Debug(message, attributes...)
		}
	}
	source := Source(client)
	if !f.AllowClients.Allow(source) {
		f.stats.denied.Add(1)
		debug("forward: not an allowed client")
		ResetOnClose(client)
		return
	}
	places := standard(f.MaxConns, defaultConns)
	if !f.conns.enter(source, places, places) {
		f.stats.excess.Add(1)
		debug("forward: too many clients")
		ResetOnClose(client)
		return
	}
	defer f.conns.leave(source)

	begin := time.Now()
	target, early, err := f.dial(ctx, client)
	if err != nil {
		debug("forward: no target", "error", err)
		ResetOnClose(client)
		return
	}
	traffic, err := cmp.Or(f.Relay, &f.relay).Run(ctx, Early(client, early), target)
	f.stats.up.Add(traffic.Up)
	f.stats.down.Add(traffic.Down)
	debug("forward: done", "up", traffic.Up, "down", traffic.Down, "took", time.Since(begin), "error", err)
}

// dial connects to the target as long as the client is there. It returns what the client said meanwhile.
func (f *Forward) dial(ctx context.Context, client net.Conn) (target net.Conn, early []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit(f.DialTimeout, defaultDial))
	defer cancel()
	ahead := readAhead(client, cancel)
	defer func() {
		var lost error
		if early, lost = ahead.stop(); lost == nil {
			return
		}
		f.stats.abandoned.Add(1)
		if err == nil {
			target.Close()
		}
		err = lost
	}()
	target, err = f.Dial(ctx, "tcp", f.Target)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			f.stats.failed.Add(1)
		}
		return nil, nil, err
	}
	return target, nil, nil
}
