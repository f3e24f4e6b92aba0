package wireguard

import (
	"testing"
	"time"
)

func TestModerator(t *testing.T) {
	var m moderator
	now := time.Unix(1000, 0)
	after := func(d time.Duration, n int) bool {
		now = now.Add(d)
		if n > 0 {
			m.got(n)
		}
		return m.rests(now)
	}
	if after(time.Hour, 1) {
		t.Fatal("rested after the first message of an hour")
	}
	for range 1000 {
		if after(time.Second/restRate*5/4, 1) {
			t.Fatal("rested below restRate")
		}
	}
	for range 100 {
		after(time.Second/restRate*4/5, 1)
	}
	if !after(10*time.Microsecond, 1) {
		t.Fatal("did not rest above restRate")
	}
	if after(2*restTime, 0) {
		t.Fatal("rested again after a rest in which nothing came")
	}
	if after(100*time.Microsecond, 0) {
		t.Fatal("rested twice after it")
	}
	if !after(100*time.Microsecond, 4) {
		t.Fatal("did not rest when they came again")
	}
	if !after(2*restTime, 8) {
		t.Fatal("did not rest again after a rest that brought some")
	}
	if after(time.Second, 1) {
		t.Fatal("rested after the first message of a second")
	}

	for range 2000 {
		after(time.Microsecond, 1)
	}
	for _, took := range []time.Duration{longRest, longRest, 2 * restTime, longRest, longRest} {
		m.rested(now, now.Add(took))
		if !after(time.Microsecond, 8) {
			t.Fatal("did not rest after one that took long")
		}
	}
	m.rested(now, now.Add(longRest))
	for range 900 {
		if after(time.Millisecond, 1000) {
			t.Fatal("rested soon after too many that took long")
		}
	}
	after(restPause/5, 1000)
	if after(time.Millisecond, 1000); !after(time.Microsecond, 1) {
		t.Fatal("never rested again")
	}
}
