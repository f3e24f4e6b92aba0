//go:build !linux

package wireguard

import (
	"sync"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
)

// bootClock counts suspend where no system clock that package time reaches
// does: a wall clock that went ahead of the monotonic one by more than
// wallStep is taken for a machine that was asleep. A wall clock that was set
// ahead looks the same, and costs one handshake.
func bootClock() func() engine.Time {
	const wallStep = 2 * time.Second
	var mu sync.Mutex
	start := time.Now()
	slept := time.Duration(0)
	return func() engine.Time {
		now := time.Now()
		mono := now.Sub(start)
		mu.Lock()
		defer mu.Unlock()
		// Round(0) strips the monotonic reading: this is a wall difference.
		ahead := now.Round(0).Sub(start.Round(0)) - mono
		if ahead-slept > wallStep {
			slept = ahead
		}
		return engine.Time{Boot: mono + slept, Wall: now}
	}
}
