package forward

import (
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"time"
)

// stallCheck is how often a source is looked at while its data is stuck in a write. Nobody reads from it meanwhile, so a
// reset would otherwise go unseen; it has to reach the other side within a second.
const stallCheck = 500 * time.Millisecond

// pair is one run of a Relay: two connections, two directions.
type pair struct {
	relay    *Relay
	up, down *direction
	ended    sync.Once // whoever comes first closes the connections; the others wait for it

	mu       sync.Mutex // guards what follows, and the fields of both directions that say so
	timer    *time.Timer
	checking bool      // the timer is due within stallCheck, not at the idle limit
	moved    time.Time // when a byte moved last
	over     int       // directions that are
	closed   bool
	err      error // why a stream broke off: the first reason
	panicked error
}

// direction is one half of a pair: what is read from src is written to dst.
type direction struct {
	src, dst net.Conn
	from     source // src
	to       writer // dst
	hold     hold

	// The pair's mutex guards these.
	writing bool
	whole   bool // src ended its stream, and all of it was written
	bytes   int64
}

func newPair(r *Relay, client, target net.Conn) *pair {
	fromClient, toClient := ends(client)
	fromTarget, toTarget := ends(target)
	none := hold{pool: &r.buffers, limit: r.MaxBuffers}
	p := &pair{
		relay: r,
		up:    &direction{src: client, dst: target, from: fromClient, to: toTarget, hold: none},
		down:  &direction{src: target, dst: client, from: fromTarget, to: toClient, hold: none},
		moved: time.Now(),
	}
	// The timer may fire before the field is set.
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(r.idle(), p.check)
	return p
}

// carry copies one direction until it is over.
func (p *pair) carry(d *direction) {
	defer func() {
		if v := recover(); v != nil {
			p.mu.Lock()
			p.panicked = fmt.Errorf("%v\n\n%s", v, debug.Stack())
			p.mu.Unlock()
			p.end(nil)
		}
	}()
	for {
		if readErr, writeErr := p.move(d); readErr != nil || writeErr != nil {
			p.leave(d, readErr, writeErr)
			return
		}
	}
}

// leave ends a direction, and the pair too if that is not just the end of a stream.
func (p *pair) leave(d *direction, readErr, writeErr error) {
	switch {
	case writeErr != nil:
		// What dst sent before it went away may still be on its way to src: the other direction finds its end.
		p.finish(d, false, fmt.Errorf("forward: write: %w", writeErr))
	case readErr == io.EOF:
		// A failure shows in the other direction; a dst that can't do it gets its end of stream when the pair ends, and that
		// is now if the other direction is whole too.
		if !p.finish(d, true, nil) {
			_ = CloseWrite(d.dst)
		}
	default:
		p.end(fmt.Errorf("forward: read: %w", readErr))
	}
}

// move takes one buffer's worth of data from src to dst. The buffer is only held until it is written.
func (p *pair) move(d *direction) (readErr, writeErr error) {
	defer d.hold.give()
	b, readErr := d.from.next(&d.hold)
	if len(b) > 0 {
		writeErr = p.write(d, b)
	}
	return readErr, writeErr
}

// write writes b to dst and keeps account of it.
func (p *pair) write(d *direction, b []byte) error {
	p.mu.Lock()
	d.writing = true
	p.moved = time.Now()
	if !p.checking && !p.closed {
		p.checking = true
		p.timer.Reset(stallCheck)
	}
	p.mu.Unlock()

	n, err := d.to.Write(b)

	p.mu.Lock()
	d.writing = false
	d.bytes += int64(n)
	p.moved = time.Now()
	p.mu.Unlock()
	return err
}

// finish notes that a direction is over, and why if its stream is not whole, and reports whether both are whole. From now
// on the half-closed limit holds.
func (p *pair) finish(d *direction, whole bool, err error) (both bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d.whole = whole
	if p.err == nil {
		p.err = err
	}
	p.over++
	p.moved = time.Now()
	if !p.checking && !p.closed && p.over == 1 {
		p.timer.Reset(p.relay.halfClosed())
	}
	return p.up.whole && p.down.whole
}

// check runs when the timer fires: it ends a pair that is idle, or of which a source is gone while its data is stuck.
func (p *pair) check() {
	if err := p.verdict(); err != nil {
		p.end(err)
	}
}

// verdict returns why the pair has to end, or nil after it set the timer for the next check.
func (p *pair) verdict() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	limit := p.relay.idle()
	if p.over > 0 {
		limit = p.relay.halfClosed()
	}
	next := limit - time.Since(p.moved)
	if next <= 0 {
		return ErrIdle
	}
	p.checking = p.up.writing || p.down.writing
	if p.checking {
		next = min(next, stallCheck)
	}
	for _, d := range []*direction{p.up, p.down} {
		if d.writing && failed(d.src) {
			return errFailed
		}
	}
	p.timer.Reset(next)
	return nil
}

// end closes both connections, and so wakes whoever waits on one. Only the first call has an effect; when a later one
// returns, the connections are closed too.
func (p *pair) end(err error) {
	p.ended.Do(func() {
		p.mu.Lock()
		p.closed = true
		p.timer.Stop()
		if p.err == nil {
			p.err = err
		}
		broken := [...]bool{!p.up.whole, !p.down.whole}
		waits := p.over < 2
		p.mu.Unlock()

		for i, d := range []*direction{p.up, p.down} {
			if broken[i] {
				ResetOnClose(d.dst)
			}
		}
		for _, d := range []*direction{p.up, p.down} {
			if waits {
				_ = d.dst.SetDeadline(time.Unix(1, 0)) // a connection need not wake its callers on Close
			}
			_ = d.dst.Close()
		}
	})
}
