package netstack

import (
	"sync"
	"time"
)

const (
	// maxNames bounds the cache.
	maxNames = 4096
	// A name is kept for what its server says, but within these bounds: a TTL
	// of 0 would ask for every connection, a long one outlive a move.
	minTTL = 5 * time.Second
	maxTTL = 5 * time.Minute
)

// cacheKey is a question: an absolute name in lower case and a record type.
type cacheKey struct {
	name string
	kind uint16
}

// nameCache remembers answers, those that a name does not exist among them.
// The zero value is ready.
type nameCache struct {
	mu      sync.Mutex
	entries map[cacheKey]cached // guarded by mu
}

type cached struct {
	answer
	until time.Time
}

// get returns what is known, if it is still to be believed.
func (c *nameCache) get(k cacheKey, now time.Time) (answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[k]
	if !ok || !now.Before(e.until) {
		return answer{}, false
	}
	return e.answer, true
}

// put remembers an answer.
func (c *nameCache) put(k cacheKey, a answer, ttl time.Duration, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = map[cacheKey]cached{}
	}
	if len(c.entries) >= maxNames {
		c.evict(now)
	}
	c.entries[k] = cached{a, now.Add(min(max(ttl, minTTL), maxTTL))}
}

// evict makes room: what is over goes, and if nothing is, an eighth of the
// rest, no matter which. It is called with mu held.
func (c *nameCache) evict(now time.Time) {
	for k, e := range c.entries {
		if !now.Before(e.until) {
			delete(c.entries, k)
		}
	}
	for k := range c.entries {
		if len(c.entries) <= maxNames-maxNames/8 {
			return
		}
		delete(c.entries, k)
	}
}
