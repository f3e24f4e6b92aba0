package engine

import (
	"net/netip"
	"testing"
	"time"
)

// TestLimiterRate: 5 at once, then 20 a second, to the token, for IPv4 by
// address and for IPv6 by /64.
func TestLimiterRate(t *testing.T) {
	steps := []struct {
		after time.Duration
		want  bool
	}{
		{0, true},
		{0, true},
		{0, true},
		{0, true},
		{0, true}, // the burst
		{0, false},
		{handshakeCost, true}, // exactly one token came back
		{0, false},
		{2 * handshakeCost, true},
		{0, true},
		{0, false},
		{handshakeCost - 1, false}, // a nanosecond short
		{1, true},
		{900 * time.Millisecond, true}, // no more than the burst is saved up
		{0, true},
		{0, true},
		{0, true},
		{0, true},
		{0, false},
	}
	var l limiter
	now := time.Hour
	for i, step := range steps {
		now += step.after
		for _, source := range []string{"192.0.2.1", "192.0.2.2", "2001:db8:0:1::1"} {
			if got := l.allow(now, netip.MustParseAddr(source)); got != step.want {
				t.Errorf("step %d: %s allowed %t, want %t", i, source, got, step.want)
			}
		}
		// Another address of the same /64 finds the tokens gone, a mapped
		// IPv4 address those of the address itself.
		if !step.want {
			for _, same := range []string{"2001:db8:0:1:ffff::9", "::ffff:192.0.2.1"} {
				if l.allow(now, netip.MustParseAddr(same)) {
					t.Errorf("step %d: %s was allowed beside its own source", i, same)
				}
			}
		}
	}
	if !l.allow(now, netip.MustParseAddr("2001:db8:0:2::1")) {
		t.Error("another /64 shares the tokens")
	}
}

// TestLimiterBound: the table has an end, and idle sources leave it.
func TestLimiterBound(t *testing.T) {
	var l limiter
	now := time.Hour
	source := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	for i := range maxSources {
		if !l.allow(now, source(i)) {
			t.Fatalf("source %d was refused", i)
		}
	}
	if l.allow(now, source(maxSources)) || len(l.sources) != maxSources {
		t.Errorf("%d sources, the bound is %d", len(l.sources), maxSources)
	}
	now += limiterIdle
	if l.allow(now, source(maxSources)) {
		t.Error("a source was forgotten before it was idle for a second")
	}
	now += limiterIdle
	if !l.allow(now, source(maxSources)) || len(l.sources) != 1 {
		t.Errorf("%d sources are remembered, want only the new one", len(l.sources))
	}
}
