package forward

import (
	"sync"
	"sync/atomic"
)

const (
	largeSize = 64 << 10
	smallSize = 4 << 10

	defaultBuffers = 512
)

// pool hands out large buffers, a limited number at a time. Those given back are left to the garbage collector when
// nobody wants them soon. The zero value is ready.
type pool struct {
	taken atomic.Int64
	free  sync.Pool // of *[largeSize]byte
}

// take returns a buffer, or nil when limit of them are taken already. A limit of 0 is the default, a negative one none.
func (p *pool) take(limit int) *[largeSize]byte {
	if limit == 0 {
		limit = defaultBuffers
	}
	if p.taken.Add(1) > int64(limit) {
		p.taken.Add(-1)
		return nil
	}
	if b, ok := p.free.Get().(*[largeSize]byte); ok {
		return b
	}
	return new([largeSize]byte)
}

// give takes back what take returned.
func (p *pool) give(b *[largeSize]byte) {
	p.free.Put(b)
	p.taken.Add(-1)
}
