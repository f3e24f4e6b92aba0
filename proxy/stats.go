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
	Evicted      uint64 // handshakes cut off to make room for newer ones
	Unknown      uint64 // connections that began with another protocol
	Unfinished   uint64 // handshakes without a request that could be read: cut off, too slow, or malformed
	BadLogins    uint64 // handshakes ended by a wrong name or password
	Abandoned    uint64 // clients that left during the dial
	Panics       uint64 // connections ended by a panic

	// Replies counts the replies to requests by their code (RFC 1928, section 6), but for those to malformed requests.
	Replies [replyCodes]uint64

	Up, Down int64 // bytes carried by connections that have ended, to and from targets

	Handshakes int // clients in their handshake now
	Conns      int // clients connected to a target now, or about to be
}

// counters are the cumulative ones of Stats, under the same names.
type counters struct {
	accepted, acceptErrors, evicted, unknown, unfinished, badLogins, abandoned, panics atomic.Uint64

	replies  [replyCodes]atomic.Uint64
	up, down atomic.Int64
}

// Stats returns the counters. Each is exact, though not all are of the same instant.
func (s *Server) Stats() Stats {
	stats := Stats{
		Accepted:     s.stats.accepted.Load(),
		AcceptErrors: s.stats.acceptErrors.Load(),
		Evicted:      s.stats.evicted.Load(),
		Unknown:      s.stats.unknown.Load(),
		Unfinished:   s.stats.unfinished.Load(),
		BadLogins:    s.stats.badLogins.Load(),
		Abandoned:    s.stats.abandoned.Load(),
		Panics:       s.stats.panics.Load(),
		Up:           s.stats.up.Load(),
		Down:         s.stats.down.Load(),
	}
	for i := range stats.Replies {
		stats.Replies[i] = s.stats.replies[i].Load()
	}
	stats.Handshakes, stats.Conns = s.gate.counts()
	return stats
}
