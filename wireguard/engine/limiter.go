package engine

import (
	"net/netip"
	"time"
)

// The rate of handshakes that one source is served with under load: 20 a
// second, and 5 at once after a quiet time.
const (
	handshakeCost = time.Second / 20
	handshakeCap  = 5 * handshakeCost
	// limiterIdle is how long a source is remembered after its last message:
	// by then its tokens are back.
	limiterIdle = time.Second
	// maxSources bounds the table. Only sources that showed that they receive
	// what is sent to them get into it.
	maxSources = 1 << 14
)

// limiter is a token bucket for each source: an IPv4 address or an IPv6 /64,
// which is what one sender can have many addresses of. The zero value is ready.
// Tokens are time, so that a frozen clock gives none.
type limiter struct {
	sources map[netip.Addr]*bucket
	swept   time.Duration
}

type bucket struct {
	last   time.Duration
	tokens time.Duration
}

// allow takes one message's tokens of its source, and reports whether they
// were there.
func (l *limiter) allow(now time.Duration, from netip.Addr) bool {
	l.sweep(now)
	source := from.Unmap()
	if source.Is6() {
		prefix, _ := source.WithZone("").Prefix(64)
		source = prefix.Addr()
	}
	b := l.sources[source]
	if b == nil {
		if len(l.sources) >= maxSources {
			return false
		}
		if l.sources == nil {
			l.sources = map[netip.Addr]*bucket{}
		}
		l.sources[source] = &bucket{last: now, tokens: handshakeCap - handshakeCost}
		return true
	}
	b.tokens = min(b.tokens+now-b.last, handshakeCap)
	b.last = now
	if b.tokens < handshakeCost {
		return false
	}
	b.tokens -= handshakeCost
	return true
}

// sweep forgets idle sources, once a second.
func (l *limiter) sweep(now time.Duration) {
	if now-l.swept < limiterIdle {
		return
	}
	l.swept = now
	for source, b := range l.sources {
		if now-b.last > limiterIdle {
			delete(l.sources, source)
		}
	}
}
