package main

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestOneCore has the program keep to one core while that is enough, and to many until it would be for long.
func TestOneCore(t *testing.T) {
	one := true
	for i, step := range []struct {
		share   float64
		waiting uint64
		one     bool
		why     string
	}{
		{0, 0, true, "it is idle"},
		{0.3, 3, true, "it has little to do"},
		{manyShare, crowd - 1, true, "one is just enough"},
		{manyShare + 0.01, 0, false, "it has all of one"},
		{1.7, 40, false, "one would not do"},
		{oneShare, 0, false, "one might not do"},
		{oneShare - 0.01, 2, true, "it has little to do"},
		{oneShare, crowd, false, "many wait, so that it gets too little of one"},
		{oneShare - 0.01, crowd, true, "there was room for all"},
	} {
		if one = oneCore(one, step.share, step.waiting); one != step.one {
			t.Errorf("step %d: with %v of a core in use and %d waiting, one is enough: %v, want %v: %s", i, step.share, step.waiting, one, step.one, step.why)
		}
	}
}

// TestKeepCores begins with one core, has every core while there is much to do and at the end, and one core in between.
func TestKeepCores(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	runtime.SetDefaultGOMAXPROCS()
	all := runtime.GOMAXPROCS(0)
	if _, told := processTime(); !told || all == 1 {
		keepCores(t.Context()) // returns at once
		return
	}
	becomes := func(cores int) {
		t.Helper()
		for limit := time.Now().Add(time.Minute); runtime.GOMAXPROCS(0) != cores; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatalf("%d cores are used after a minute, want %d", runtime.GOMAXPROCS(0), cores)
			}
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	var running, work sync.WaitGroup
	running.Go(func() { keepCores(ctx) })
	becomes(1)
	var enough atomic.Bool
	for range 2 * crowd {
		work.Go(func() {
			for !enough.Load() {
			}
		})
	}
	becomes(all)
	enough.Store(true)
	work.Wait()
	becomes(1)
	cancel()
	running.Wait()
	if got := runtime.GOMAXPROCS(0); got != all {
		t.Errorf("at the end %d cores are used, want %d", got, all)
	}
}

// TestKeepCoresSet leaves alone what the environment sets.
func TestKeepCoresSet(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	t.Setenv("GOMAXPROCS", "3")
	runtime.GOMAXPROCS(3)
	keepCores(t.Context()) // would not return
	if got := runtime.GOMAXPROCS(0); got != 3 {
		t.Errorf("%d cores are used, want the 3 of GOMAXPROCS", got)
	}
}
