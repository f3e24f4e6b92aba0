package wireguard

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// packAgainAfter is how long an endpoint gets single datagrams after the
	// kernel refused to segment for it: the route may have changed by then.
	packAgainAfter = time.Minute
	// maxPlainEndpoints bounds what is remembered; beyond it everything is
	// forgotten and learnt anew.
	maxPlainEndpoints = 1024
)

// plainEndpoints remembers where UDP_SEGMENT does not work: a route whose MTU
// is below the datagram, or whose device can't do checksums. The zero value is
// ready.
type plainEndpoints struct {
	any atomic.Bool // fast way out: most hosts never learn one

	mu    sync.Mutex
	until map[netip.AddrPort]time.Time // guarded by mu
}

// mayPack reports whether a batch to this endpoint may leave in one call.
func (p *plainEndpoints) mayPack(to netip.AddrPort) bool {
	if !p.any.Load() {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	until, plain := p.until[to]
	if plain && time.Now().After(until) {
		delete(p.until, to)
		p.any.Store(len(p.until) > 0)
		return true
	}
	return !plain
}

// learn takes the error of a packed send, and reports whether the batch is to
// be sent again, singly.
func (p *plainEndpoints) learn(to netip.AddrPort, err error) bool {
	if !errors.Is(err, unix.EIO) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EMSGSIZE) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until == nil || len(p.until) >= maxPlainEndpoints {
		p.until = map[netip.AddrPort]time.Time{}
	}
	p.until[to] = time.Now().Add(packAgainAfter)
	p.any.Store(true)
	return true
}
