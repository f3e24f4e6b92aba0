package main

import "testing"

// TestTidier has memory given back once after many connections, when it was quiet for a while, and not again before there
// were as many.
func TestTidier(t *testing.T) {
	var tidy tidier
	const much = busyAllocation
	for i, step := range []struct {
		times     int
		allocates uint64
		soon, due bool
		why       string
	}{
		{1, much / 2, true, false, "it is busy"},
		{20, 0, false, false, "it was not much"},
		{1, much, true, false, "it is busy"},
		{1, quietAllocation + 1, true, false, "it still is"},
		{quietLooks - 1, quietAllocation, true, false, "connections may be remembered that were closed"},
		{1, quietAllocation + 1, true, false, "it is busy again"},
		{quietLooks - 1, 0, true, false, "connections may be remembered that were closed"},
		{1, quietAllocation, false, true, "it is quiet after much"},
		{1, quietAllocation, false, false, "it has just tidied up"},
		{20, 0, false, false, "nothing has happened"},
		{1, much, true, false, "it is busy again"},
		{quietLooks - 1, 0, true, false, "it is not quiet for long"},
		{1, 0, false, true, "it is"},
	} {
		for range step.times {
			if soon, due := tidy.look(tidy.seen + step.allocates); soon != step.soon || due != step.due {
				t.Errorf("step %d: soon %v and due %v, want %v and %v: %s", i, soon, due, step.soon, step.due, step.why)
			}
		}
	}
}
