package forward

import (
	"net/netip"
	"sync"
)

// quota counts who is served, in all and of each source.
type quota struct {
	mu      sync.Mutex
	count   int                // guarded by mu
	sources map[netip.Addr]int // guarded by mu; has no zeros
}

// enter takes a place, if fewer than all are taken, and fewer than perSource by this source.
func (q *quota) enter(source netip.Addr, all, perSource int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.count >= all || q.sources[source] >= perSource {
		return false
	}
	if q.sources == nil {
		q.sources = make(map[netip.Addr]int)
	}
	q.count++
	q.sources[source]++
	return true
}

// leave gives it back.
func (q *quota) leave(source netip.Addr) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.count--
	q.sources[source]--
	if q.sources[source] == 0 {
		delete(q.sources, source)
	}
}

// now is how many places are taken.
func (q *quota) now() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count
}
