package netstack

import (
	"sync"
	"time"
)

// deadline wakes those who wait when its time comes. The zero value never
// does.
type deadline struct {
	mu sync.Mutex
	// timer is nil without a deadline, or when it has passed. Guarded by mu.
	timer *time.Timer
	// passed is closed when the deadline has passed, nil as long as nobody
	// has asked. Guarded by mu.
	passed chan struct{}
	// over says that passed is closed. Guarded by mu.
	over bool
}

// set moves the deadline; a zero time removes it. Those who wait already go by
// the new one.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.over {
		d.passed, d.over = nil, false
	}
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		d.pass()
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(left, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.timer == timer { // or else it was too late to stop it
			d.timer = nil
			d.pass()
		}
	})
	d.timer = timer
}

// pass is called with mu held.
func (d *deadline) pass() {
	if d.passed == nil {
		d.passed = make(chan struct{})
	}
	close(d.passed)
	d.over = true
}

// done is closed when the deadline has passed. After that, set makes a new
// one.
func (d *deadline) done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.passed == nil {
		d.passed = make(chan struct{})
	}
	return d.passed
}

// expired reports whether the deadline has passed.
func (d *deadline) expired() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.over
}
