package netstack

import (
	"context"
	"net"
	"net/netip"
	"time"
)

const (
	// resolutionDelay is how long IPv4 addresses wait for those of IPv6 (RFC
	// 8305, section 3).
	resolutionDelay = 50 * time.Millisecond
	// attemptDelay is how long one attempt gets before the next is made
	// beside it (RFC 8305, section 5).
	attemptDelay = 250 * time.Millisecond
)

// race connects to a name's addresses, of both families as they become known,
// one after the other and then beside each other, and keeps the first
// connection that stands ("happy eyeballs", RFC 8305). It runs once.
type race struct {
	dial    func(ctx context.Context, a netip.Addr) (net.Conn, error)
	answers <-chan answer
	missing int // answers that have not come

	waiting [2][]netip.Addr // addresses not tried yet, IPv6 first
	turn    int             // the family that the next attempt is of, if it has one
	results chan attempt
	running int // attempts under way

	lookupErr, dialErr error // the first of each
}

// attempt is what became of one.
type attempt struct {
	conn net.Conn
	err  error
}

// run returns the winner; what loses is ended and closed by then.
func (r *race) run(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	r.results = make(chan attempt)
	defer r.abandon()
	defer cancel()
	if err := r.resolve(ctx); err != nil {
		return nil, err
	}
	next := time.NewTimer(attemptDelay)
	defer next.Stop()
	for due := true; ; {
		if due && r.start(ctx) {
			due = false
			next.Reset(attemptDelay)
		}
		if r.running == 0 && r.missing == 0 && !r.waits() {
			if r.dialErr != nil {
				return nil, r.dialErr
			}
			return nil, r.lookupErr
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case a := <-r.answers:
			r.learn(a)
		case <-next.C:
			due = true
		case a := <-r.results:
			r.running--
			if a.err == nil {
				return a.conn, nil
			}
			if r.dialErr == nil {
				r.dialErr = a.err
			}
			due = true
		}
	}
}

// resolve waits until there is something to begin with.
func (r *race) resolve(ctx context.Context) error {
	grace := time.NewTimer(resolutionDelay)
	defer grace.Stop()
	for r.missing > 0 && len(r.waiting[0]) == 0 {
		over := grace.C
		if !r.waits() {
			over = nil // nothing to wait any longer with
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return nil
		case a := <-r.answers:
			r.learn(a)
			grace.Reset(resolutionDelay)
		}
	}
	return nil
}

// learn takes an answer.
func (r *race) learn(a answer) {
	r.missing--
	if a.err != nil && (r.lookupErr == nil || isNotFound(r.lookupErr)) {
		r.lookupErr = a.err
	}
	for _, addr := range a.addrs {
		if addr.Is4() {
			r.waiting[1] = append(r.waiting[1], addr)
		} else {
			r.waiting[0] = append(r.waiting[0], addr)
		}
	}
}

// waits reports whether there is an address to try.
func (r *race) waits() bool { return len(r.waiting[0])+len(r.waiting[1]) > 0 }

// start begins the next attempt, of the families in turn, and reports whether
// there was an address for it.
func (r *race) start(ctx context.Context) bool {
	if !r.waits() {
		return false
	}
	if len(r.waiting[r.turn]) == 0 {
		r.turn = 1 - r.turn
	}
	addr := r.waiting[r.turn][0]
	r.waiting[r.turn] = r.waiting[r.turn][1:]
	r.turn = 1 - r.turn
	r.running++
	go func() {
		conn, err := r.dial(ctx, addr)
		r.results <- attempt{conn, err}
	}()
	return true
}

// abandon joins the attempts that lost. Their context is over.
func (r *race) abandon() {
	for ; r.running > 0; r.running-- {
		if a := <-r.results; a.err == nil {
			a.conn.Close()
		}
	}
}
