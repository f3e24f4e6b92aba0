package main

import (
	"context"
	"os"
	"runtime"
	"time"
)

const (
	// It is looked every idleCores how busy the program is while it may use every core, and every busyCores while it keeps to
	// one: so long, at most, one has to do when many are wanted.
	idleCores, busyCores = time.Second, 20 * time.Millisecond
	// A program that may use every core keeps to one if it uses between idleShare, as there is nothing to gain below, and
	// oneShare of one.
	idleShare, oneShare = 0.01, 0.65
	// manyShare is the share of the one core above which it may use every core again. It is the smaller of the two as the
	// same work takes a fifth less on one, and well below 1 as others may want that core too: a client that had all it asked
	// for was seen to use up to 0.54, one that could have used more no less than 0.62, on two cores that it shared.
	manyShare = 0.6
)

// keepCores has the program keep to one core while the work is little, until ctx ends. With more, the runtime wakes
// another thread for every goroutine that gets something to do, which then looks for it in vain as often as not: at 200
// Mbit/s that is a fifth of the CPU time. Where the environment sets GOMAXPROCS, that holds.
func keepCores(ctx context.Context) {
	if os.Getenv("GOMAXPROCS") != "" || runtime.GOMAXPROCS(0) == 1 {
		return
	}
	defer runtime.SetDefaultGOMAXPROCS()
	last, ok := processTime()
	if !ok {
		return
	}
	at, one := time.Now(), false
	timer := time.NewTimer(idleCores)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		used, _ := processTime()
		now := time.Now()
		enough := oneCore(one, float64(used-last)/float64(now.Sub(at)))
		last, at = used, now
		switch {
		case enough && !one:
			runtime.GOMAXPROCS(1)
		case one && !enough:
			runtime.SetDefaultGOMAXPROCS()
		}
		if one = enough; one {
			timer.Reset(busyCores)
		} else {
			timer.Reset(idleCores)
		}
	}
}

// oneCore reports whether one core is enough for a program that kept to one or did not, and used that share of one.
func oneCore(one bool, share float64) bool {
	if one {
		return idleShare <= share && share <= manyShare
	}
	return idleShare <= share && share < oneShare
}
