package main

import (
	"context"
	"os"
	"runtime"
	"runtime/metrics"
	"time"
)

const (
	// With one core, it is looked every oneBusyLook how busy the program is, which is the longest that one has to do when
	// more are wanted, and every oneIdleLook if it is idle; with many, every manyLook, so that it costs little if one does
	// not do after all.
	oneBusyLook, oneIdleLook, manyLook = 100 * time.Millisecond, time.Second, 5 * time.Second
	// idleShare is the share of one core below which it is idle.
	idleShare = 0.01
	// It keeps to one core as soon as it uses less than oneShare of one, and until it uses more than manyShare, or has a crowd
	// of goroutines that wait for that core: where others want it too, the share may stay low.
	oneShare, manyShare = 0.9, 0.95
	crowd               = 16
)

// keepCores has the program keep to one core while that is enough, until ctx ends. With more, the runtime wakes another
// thread for every goroutine that gets something to do, which then looks for it in vain as often as not: at 200 Mbit/s
// that is a fifth of the CPU time, and no transfer is faster for it. Where the environment sets GOMAXPROCS, that holds.
func keepCores(ctx context.Context) {
	last, ok := processTime()
	if !ok || os.Getenv("GOMAXPROCS") != "" || runtime.GOMAXPROCS(0) == 1 {
		return
	}
	defer runtime.SetDefaultGOMAXPROCS()
	at, one := time.Now(), true
	runtime.GOMAXPROCS(1)
	waiting := []metrics.Sample{{Name: "/sched/goroutines/runnable:goroutines"}}
	timer := time.NewTimer(oneBusyLook)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		used, _ := processTime()
		now := time.Now()
		metrics.Read(waiting)
		share := float64(used-last) / float64(now.Sub(at))
		last, at = used, now
		enough := oneCore(one, share, waiting[0].Value.Uint64())
		switch {
		case enough && !one:
			runtime.GOMAXPROCS(1)
		case one && !enough:
			runtime.SetDefaultGOMAXPROCS()
		}
		one = enough
		switch {
		case !one:
			timer.Reset(manyLook)
		case share < idleShare:
			timer.Reset(oneIdleLook)
		default:
			timer.Reset(oneBusyLook)
		}
	}
}

// oneCore reports whether one core is enough for a program that kept to one or did not, used that share of one, and has so
// many goroutines that wait for one.
func oneCore(one bool, share float64, waiting uint64) bool {
	if one {
		return share <= manyShare && waiting < crowd
	}
	return share < oneShare
}
