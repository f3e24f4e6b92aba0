package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// It is looked every idleLook whether there will be memory to give back, and every busyLook whether the time has come.
	idleLook, busyLook = 5 * time.Second, time.Second
	// quietAllocation is as much as may be allocated between two looks when little happens, and busyAllocation what makes it
	// worth while to tidy up: some thousand connections. Carrying data allocates nothing.
	quietAllocation = 1 << 20
	busyAllocation  = 16 << 20
	// quietLooks is how many looks in a row have to find little, so that it is longer quiet than closed connections are
	// remembered (TIME-WAIT).
	quietLooks = 10
)

// tidy gives memory back to the system, once after each time of many connections, until ctx ends. The runtime does not by
// itself: it collects garbage when more is allocated, and then returns what is above its aim, so a program that became
// quiet after 30,000 connections would keep some 180 MiB.
func tidy(ctx context.Context) {
	var t tidier
	allocated := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	timer := time.NewTimer(idleLook)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		metrics.Read(allocated)
		soon, due := t.look(allocated[0].Value.Uint64())
		if due {
			debug.FreeOSMemory()
		}
		if soon {
			timer.Reset(busyLook)
		} else {
			timer.Reset(idleLook)
		}
	}
}

// tidier decides when.
type tidier struct {
	seen  uint64 // bytes allocated in all, when it was looked last
	tidy  uint64 // and when memory was given back last
	quiet int    // looks in a row that found little, while there is memory to give back
}

// look is told how much was allocated in all. It reports whether to look again soon, and whether memory is to be given back.
func (t *tidier) look(allocated uint64) (soon, due bool) {
	much := allocated-t.seen > quietAllocation
	t.seen = allocated
	if much || allocated-t.tidy < busyAllocation {
		t.quiet = 0
		return much, false
	}
	if t.quiet++; t.quiet < quietLooks {
		return true, false
	}
	t.quiet, t.tidy = 0, allocated
	return false, true
}
