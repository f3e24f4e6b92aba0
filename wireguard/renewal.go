package wireguard

import (
	"math"
	"sync"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
)

const (
	// renewAfter is how long every peer must have been silent, while some were
	// called, before the sockets are doubted.
	renewAfter = 30 * time.Second
	// renewEvery is the least time between two renewals.
	renewEvery = time.Minute
)

// renewal opens new UDP sockets when nothing answers on the present ones: a
// NAT that lost its state, or a socket that the system broke, may need another
// port. A configured port is kept.
type renewal struct {
	mu     sync.Mutex
	trying time.Duration // guarded by mu: the first initiation that no answer followed
	last   time.Duration // guarded by mu: the last renewal
}

func (r *renewal) init() { r.trying, r.last = math.MinInt64, math.MinInt64 }

// event watches the initiations.
func (r *renewal) event(d *Device, v engine.Event) {
	if v.Kind != engine.EventInitiation || !r.due(d.clock().Boot, d.engine.LastHeard()) {
		return
	}
	renewed, err := d.sockets.renew()
	if err != nil {
		d.log.Warn("no peer answers, and a new UDP socket can't be opened", "error", err)
	}
	if renewed {
		d.engine.ForgetSources()
		d.log.Info("no peer answers, trying from a new UDP port", "port", d.ListenPort())
	}
}

// due reports whether the sockets are to be renewed now.
func (r *renewal) due(now, heard time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trying <= heard {
		r.trying = now
	}
	if now-r.trying < renewAfter || r.last != math.MinInt64 && now-r.last < renewEvery {
		return false
	}
	r.last = now
	return true
}
