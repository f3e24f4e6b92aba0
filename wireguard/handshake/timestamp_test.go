package handshake

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"testing"
	"time"
)

func TestTimestampAt(t *testing.T) {
	for _, tt := range []struct {
		wall time.Time
		want string
	}{
		{time.Unix(0, 0), "400000000000000a00000000"},
		{time.Unix(1_700_000_000, 999_999_999), "400000006553f10a3b000000"},
		{time.Unix(1_700_000_000, 1<<24-1), "400000006553f10a00000000"},
		{time.Unix(1_700_000_000, 1<<24), "400000006553f10a01000000"},
		{time.Unix(-11, 0), "3fffffffffffffff00000000"},
		{time.Unix(1<<33, 0).In(time.FixedZone("", 3600)), "400000020000000a00000000"},
	} {
		ts := TimestampAt(tt.wall)
		if got := hex.EncodeToString(ts[:]); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.wall, got, tt.want)
		}
	}
}

// TestAfter compares as bytes, first to last, whether they are a time or not.
func TestAfter(t *testing.T) {
	parse := func(s string) (ts Timestamp) {
		if _, err := hex.Decode(ts[:], []byte(s)); err != nil {
			t.Fatal(err)
		}
		return ts
	}
	const zeros = "000000000000000000000000"
	for _, tt := range []struct {
		name, before, after string
	}{
		{"first initiation ever", zeros, "400000000000000a00000000"},
		{"next step", "400000006553f10a3a000000", "400000006553f10a3b000000"},
		{"next second", "400000006553f10a3b000000", "400000006553f10b00000000"},
		{"carry over a byte", "400000006553f1ff00000000", "400000006553f20000000000"},
		// wireguard-rs took any greater byte for a greater timestamp.
		{"a smaller byte behind", "0000000000000000000001ff", "000000000000000000000200"},
		{"nanoseconds past a second", "4000000000000001ffffffff", "400000000000000200000000"},
		{"not TAI64N at all", "7fffffffffffffffffffffff", "800000000000000000000000"},
		{"the last", "fffffffffffffffffffffffe", "ffffffffffffffffffffffff"},
	} {
		before, after := parse(tt.before), parse(tt.after)
		if !after.After(before) {
			t.Errorf("%s: %s is not after %s", tt.name, tt.after, tt.before)
		}
		if before.After(after) {
			t.Errorf("%s: %s is after %s", tt.name, tt.before, tt.after)
		}
		if after.After(after) {
			t.Errorf("%s: %s is after itself", tt.name, tt.after)
		}
	}
}

// TestWhitening looks at every step of a second: two clocks up to 10 ms apart
// may look alike, two that are 20 ms apart never do.
func TestWhitening(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	var steps []time.Duration // The first moment of each timestamp.
	last := Timestamp{}
	for d := time.Duration(0); d <= time.Second; d += time.Microsecond {
		if ts := TimestampAt(start.Add(d)); ts != last {
			if !ts.After(last) {
				t.Fatalf("the timestamp falls at %v", d)
			}
			last = ts
			steps = append(steps, d)
		}
	}
	if len(steps) != 61 {
		t.Errorf("%d timestamps from one second to the next, want 61", len(steps))
	}
	for i, d := range steps[1:] {
		if step := d - steps[i]; step <= 10*time.Millisecond || step > 20*time.Millisecond {
			t.Errorf("the step at %v is %v, want more than 10 ms and no more than 20 ms", steps[i], step)
		}
	}
}

// TestNext rises strictly from any timestamp on, our own or not, and visits
// every one of ours.
func TestNext(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	ts := TimestampAt(start)
	for d := time.Duration(0); d <= 3*time.Second; d += time.Millisecond {
		if now := TimestampAt(start.Add(d)); now.After(ts) {
			if next := ts.Next(); next != now {
				t.Fatalf("after %x comes %x, want %x", ts, next, now)
			}
			ts = now
		}
	}

	const seed = 1
	random := rand.NewChaCha8([32]byte{seed})
	for range 10_000 {
		var ts Timestamp
		random.Read(ts[:])
		next := ts.Next()
		if !next.After(ts) {
			t.Fatalf("seed %d: after %x comes %x", seed, ts, next)
		}
		if n := binary.BigEndian.Uint32(next[8:]); n%(1<<24) != 0 || n >= 1e9 {
			t.Fatalf("seed %d: after %x comes %x, which is not whitened", seed, ts, next)
		}
	}
}

// TestClockSteps is what a caller does with a clock that stands still, runs
// back and jumps ahead.
func TestClockSteps(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	var last Timestamp
	for _, d := range []time.Duration{0, 0, -time.Hour, -10 * 365 * 24 * time.Hour, time.Second, 0, 1000 * time.Hour, time.Minute} {
		ts := TimestampAt(start.Add(d))
		if !ts.After(last) {
			ts = last.Next()
		}
		if !ts.After(last) {
			t.Errorf("after %x comes %x at %v", last, ts, d)
		}
		last = ts
	}
}

// TestBoringTunTimestamp takes the timestamps of BoringTun, which counts from
// 27 s before others do, so that its clock looks 27 s ahead.
func TestBoringTunTimestamp(t *testing.T) {
	p := newPair(t, 12)
	wall := time.Unix(1_700_000_000, 0)
	ours := TimestampAt(wall)
	var theirs Timestamp
	binary.BigEndian.PutUint64(theirs[:8], 1<<62+37+uint64(wall.Unix()))
	binary.BigEndian.PutUint32(theirs[8:], 123_456_789)

	_, m, err := Initiate(p.alice.id, p.alice.remote, aliceIndex, theirs, p.private())
	if err != nil {
		t.Fatal(err)
	}
	r, err := Receive(p.bob.id, &m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Authenticate(p.bob.remote)
	if err != nil || got != theirs {
		t.Fatalf("timestamp %x, %v, want %x", got, err, theirs)
	}
	if !got.After(ours) || !TimestampAt(wall.Add(28*time.Second)).After(got) {
		t.Error("the timestamp is not between now and 28 s later")
	}
}
