package engine

import (
	"maps"
	"sync/atomic"
)

const (
	indexShards = 256
	// indexAttempts is how often a new index is drawn. With a million live
	// ones a single draw collides once in 4,000 times.
	indexAttempts = 16
)

// indexEntry is what a receiver index of ours stands for: a session, or an
// initiation that waits for its response.
type indexEntry struct {
	peer    *Peer
	keypair *Keypair    // nil while it is a handshake
	pending *initiation // nil once it is a session, and for a response in the making
}

// indexTable maps the receiver indices of one engine, handshakes and sessions
// alike, to what they stand for. Reads take no lock; a write copies one shard.
type indexTable struct {
	shards [indexShards]atomic.Pointer[map[uint32]indexEntry]
}

func (t *indexTable) shard(i uint32) *atomic.Pointer[map[uint32]indexEntry] {
	return &t.shards[i%indexShards]
}

// find returns what i stands for, and the zero entry for nothing.
func (t *indexTable) find(i uint32) indexEntry {
	m := t.shard(i).Load()
	if m == nil {
		return indexEntry{}
	}
	return (*m)[i]
}

// change replaces i's shard by a copy that edit was applied to, unless edit
// says no.
func (t *indexTable) change(i uint32, edit func(map[uint32]indexEntry) bool) bool {
	s := t.shard(i)
	for {
		old := s.Load()
		fresh := map[uint32]indexEntry{}
		if old != nil {
			fresh = maps.Clone(*old)
		}
		if !edit(fresh) {
			return false
		}
		if s.CompareAndSwap(old, &fresh) {
			return true
		}
	}
}

// add gives e a new index: random, so that it tells nothing and can't be
// guessed, and unique in the table. Every 32-bit number may come, 0 too.
// It reports false when random fails or keeps returning indices in use.
func (t *indexTable) add(e indexEntry, random func() (uint32, error)) (uint32, bool) {
	for range indexAttempts {
		i, err := random()
		if err != nil {
			return 0, false
		}
		added := t.change(i, func(m map[uint32]indexEntry) bool {
			if _, used := m[i]; used {
				return false
			}
			m[i] = e
			return true
		})
		if added {
			return i, true
		}
	}
	return 0, false
}

// set changes what i stands for.
func (t *indexTable) set(i uint32, e indexEntry) {
	t.change(i, func(m map[uint32]indexEntry) bool { m[i] = e; return true })
}

// remove frees i.
func (t *indexTable) remove(i uint32) {
	t.change(i, func(m map[uint32]indexEntry) bool {
		_, ok := m[i]
		delete(m, i)
		return ok
	})
}

// size counts the live indices.
func (t *indexTable) size() int {
	n := 0
	for i := range t.shards {
		if m := t.shards[i].Load(); m != nil {
			n += len(*m)
		}
	}
	return n
}
