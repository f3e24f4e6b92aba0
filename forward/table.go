package forward

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// table holds the UDP flows of a gateway. When it is full, the one that was not used for longest has to go.
type table struct {
	mu      sync.Mutex
	epoch   time.Time           // when the first flow came; guarded by mu
	flows   map[*place]struct{} // guarded by mu
	sources map[netip.Addr]int  // flows of each source; guarded by mu; has no zeros
}

// place is that of one flow in the table.
type place struct {
	source netip.Addr
	epoch  time.Time
	used   atomic.Int64       // nanoseconds since the epoch
	end    context.CancelFunc // ends the flow
	ended  chan struct{}      // closed when nothing is left of the flow
}

// enter makes room for a flow of source, which end ends. If another flow has to go for that, enter ends it and waits
// until it is gone, so that no more than all of them ever hold a socket, nor more than perSource of one source; it
// reports whether that was so.
func (t *table) enter(source netip.Addr, end context.CancelFunc, all, perSource int) (p *place, evicted bool) {
	p = &place{source: source, end: end, ended: make(chan struct{})}
	oldest := t.add(p, all, perSource)
	if oldest == nil {
		return p, false
	}
	oldest.end()
	<-oldest.ended
	return p, true
}

// add adds p, and takes out and returns the flow whose place it gets, if any.
func (t *table) add(p *place, all, perSource int) (oldest *place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flows == nil {
		t.epoch = time.Now()
		t.flows, t.sources = make(map[*place]struct{}), make(map[netip.Addr]int)
	}
	switch {
	case t.sources[p.source] >= perSource:
		oldest = t.oldest(func(other *place) bool { return other.source == p.source })
	case len(t.flows) >= all:
		oldest = t.oldest(func(*place) bool { return true })
	}
	if oldest != nil {
		t.remove(oldest)
	}
	p.epoch = t.epoch
	p.touch()
	t.flows[p] = struct{}{}
	t.sources[p.source]++
	return oldest
}

// oldest is the flow of those wanted that was not used for longest. It is called with mu held.
func (t *table) oldest(wanted func(*place) bool) (oldest *place) {
	for p := range t.flows {
		if wanted(p) && (oldest == nil || p.used.Load() < oldest.used.Load()) {
			oldest = p
		}
	}
	return oldest
}

// remove is called with mu held.
func (t *table) remove(p *place) {
	if _, ok := t.flows[p]; !ok {
		return // it had to go before
	}
	delete(t.flows, p)
	t.sources[p.source]--
	if t.sources[p.source] == 0 {
		delete(t.sources, p.source)
	}
}

// leave is called when nothing is left of the flow.
func (t *table) leave(p *place) {
	t.mu.Lock()
	t.remove(p)
	t.mu.Unlock()
	close(p.ended)
}

// now is how many flows there are.
func (t *table) now() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.flows)
}

// touch notes that the flow is in use.
func (p *place) touch() { p.used.Store(int64(time.Since(p.epoch))) }

// idle is for how long the flow was not in use.
func (p *place) idle() time.Duration { return time.Since(p.epoch) - time.Duration(p.used.Load()) }
