package main

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"
)

// TestOneCore has the program keep to one core while that is enough.
func TestOneCore(t *testing.T) {
	one := false
	for i, step := range []struct {
		share float64
		one   bool
		why   string
	}{
		{0, false, "it is idle, and to look often would be work"},
		{0.005, false, "it is as good as idle"},
		{0.9, false, "it has much to do"},
		{oneShare, false, "one might not do"},
		{0.3, true, "it has little to do"},
		{manyShare, true, "one is enough"},
		{manyShare + 0.01, false, "it might use more"},
		{1.7, false, "one would not do"},
		{oneShare - 0.01, true, "it would use less of one"},
		{0.02, true, "it has little to do"},
		{0, false, "it is idle"},
	} {
		if one = oneCore(one, step.share); one != step.one {
			t.Errorf("step %d: with %v of a core in use, one is enough: %v, want %v: %s", i, step.share, one, step.one, step.why)
		}
	}
}

// TestKeepCores keeps a program with little to do to one core, and gives every core back at the end.
func TestKeepCores(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	runtime.SetDefaultGOMAXPROCS()
	all := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(all + 1)

	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { keepCores(ctx) })
	_, told := processTime()
	for limit := time.Now().Add(time.Minute); told && runtime.GOMAXPROCS(0) != 1; {
		if time.Now().After(limit) {
			t.Error("it has not kept to one core for a minute")
			break
		}
		for end := time.Now().Add(time.Millisecond); time.Now().Before(end); { // a tenth of a core
		}
		time.Sleep(9 * time.Millisecond)
	}
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
