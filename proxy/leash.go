package proxy

import (
	"net"
	"sync"
	"time"
)

// leash reads from a connection with a limit for how long each read may wait. One goroutine reads; others may change the
// limit meanwhile, or stop it.
//
// The zero limit is none, and leaves the connection's deadline to whoever sets it.
type leash struct {
	conn net.Conn

	mu      sync.Mutex // guards what follows, and the order in which the deadline is set
	idle    time.Duration
	stopped bool
}

func (l *leash) Read(b []byte) (int, error) {
	l.extend()
	return l.conn.Read(b)
}

// extend begins the time anew, as something has happened.
func (l *leash) extend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.idle > 0 && !l.stopped {
		_ = l.conn.SetReadDeadline(time.Now().Add(l.idle))
	}
}

// limit changes the limit, also of a read that waits already.
func (l *leash) limit(idle time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	l.idle = idle
	var deadline time.Time
	if idle > 0 {
		deadline = time.Now().Add(idle)
	}
	_ = l.conn.SetReadDeadline(deadline)
}

// stop makes reads fail with a time-out, whatever is done meanwhile to the limit, until free is called.
func (l *leash) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	_ = l.conn.SetReadDeadline(time.Unix(1, 0))
}

// free takes away the limit, and what stop did.
func (l *leash) free() {
	l.mu.Lock()
	l.stopped = false
	l.mu.Unlock()
	l.limit(0)
}
