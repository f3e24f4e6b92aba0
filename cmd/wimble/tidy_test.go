package main

import "testing"

// TestTidier has memory given back once after many connections, when it is quiet, and not again before there were as many.
func TestTidier(t *testing.T) {
	var tidy tidier
	const much = busyAllocation
	for i, step := range []struct {
		allocates uint64
		busy, due bool
		why       string
	}{
		{much / 2, true, false, "it is busy"},
		{0, false, false, "it was not much"},
		{much, true, false, "it is busy"},
		{quietAllocation + 1, true, false, "it still is"},
		{quietAllocation, false, true, "it is quiet after much"},
		{quietAllocation, false, false, "it has just tidied up"},
		{0, false, false, "nothing has happened"},
		{much, true, false, "it is busy again"},
		{0, false, true, "it is quiet again"},
	} {
		if busy, due := tidy.look(tidy.seen + step.allocates); busy != step.busy || due != step.due {
			t.Errorf("step %d: busy %v and due %v, want %v and %v: %s", i, busy, due, step.busy, step.due, step.why)
		}
	}
}
