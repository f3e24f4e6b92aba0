package proxy

import (
	"sync/atomic"

	"github.com/things-go/go-socks5/statute"
)

// replyCodes is how many reply codes RFC 1928 assigns.
const replyCodes = int(statute.RepAddrTypeNotSupported) + 1

// Stats is what a Server has seen since it was made.
type Stats struct {
	Accepted     uint64 // connections taken from the listeners
	AcceptErrors uint64 // times that a listener had none to give
	Denied       uint64 // connections from addresses that are not allowed
	Evicted      uint64 // handshakes cut off to make room for newer ones
	Unknown      uint64 // connections that began with another protocol
	Unfinished   uint64 // handshakes without a request that could be read: cut off, too slow, or malformed
	BadLogins    uint64 // logins with a wrong name or password
	Throttled    uint64 // logins not looked at, after too many wrong ones from their address
	Abandoned    uint64 // clients that left during the dial
	Panics       uint64 // connections ended by a panic

	// Replies counts the replies to SOCKS5 requests by their code (RFC 1928, section 6), but for those to malformed requests.
	Replies [replyCodes]uint64

	// Statuses counts the responses to HTTP requests by their status: those of origins and our own. An interim one is not
	// counted, one that broke off is.
	Statuses map[int]uint64

	Up, Down int64 // bytes carried by connections and HTTP exchanges that have ended, to and from targets

	Handshakes int // clients in their handshake now, or about to send another HTTP request
	Conns      int // clients connected to a target now, or about to be
}

// counters are the cumulative ones of Stats, under the same names.
type counters struct {
	denied, evicted, unknown, unfinished, badLogins, throttled, abandoned atomic.Uint64

	replies  [replyCodes]atomic.Uint64
	statuses [1000]atomic.Uint64 // a status has three digits
	up, down atomic.Int64
}

// Stats returns the counters. Each is exact, though not all are of the same instant.
func (s *Server) Stats() Stats {
	accepts := s.acceptor.Stats()
	stats := Stats{
		Accepted:     accepts.Accepted,
		AcceptErrors: accepts.AcceptErrors,
		Denied:       s.stats.denied.Load(),
		Evicted:      s.stats.evicted.Load(),
		Unknown:      s.stats.unknown.Load(),
		Unfinished:   s.stats.unfinished.Load(),
		BadLogins:    s.stats.badLogins.Load(),
		Throttled:    s.stats.throttled.Load(),
		Abandoned:    s.stats.abandoned.Load(),
		Panics:       accepts.Panics,
		Statuses:     make(map[int]uint64),
		Up:           s.stats.up.Load(),
		Down:         s.stats.down.Load(),
	}
	for i := range stats.Replies {
		stats.Replies[i] = s.stats.replies[i].Load()
	}
	for status := range s.stats.statuses {
		if n := s.stats.statuses[status].Load(); n > 0 {
			stats.Statuses[status] = n
		}
	}
	stats.Handshakes, stats.Conns = s.gate.counts()
	return stats
}
