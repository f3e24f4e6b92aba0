package engine

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// TestReplayTable is the table that the kernel's selftest and wireguard-go
// share, on one window from the first row to the last.
func TestReplayTable(t *testing.T) {
	const (
		l = WindowSize + 1
		r = RejectAfterMessages
	)
	var w window
	for i, row := range []struct {
		counter uint64
		want    bool
	}{
		{0, true},
		{1, true},
		{1, false},
		{9, true},
		{8, true},
		{7, true},
		{7, false},
		{l, true},
		{l - 1, true},
		{l - 1, false},
		{l - 2, true},
		{2, true}, // the window's last
		{2, false},
		{l + 16, true},
		{3, false}, // just fell out
		{l + 16, false},
		{4 * l, true},
		{4*l - (l - 1), true},
		{10, false},
		{4*l - l, false},
		{4*l - (l + 1), false},
		{4*l - (l - 2), true},
		{4*l + 1 - l, false},
		{0, false},
		{r, false}, // refused, and the window stays
		{r - 1, true},
		{r, false},
		{r - 1, false},
		{r - 2, true},
		{r + 1, false},
		{r + 2, false},
		{r - 2, false},
		{r - 3, true},
		{0, false},
		{1<<64 - 1, false}, // would be 0 plus 1 in a wrapping sum
	} {
		if got := w.accept(row.counter); got != row.want {
			t.Errorf("row %d: counter %d accepted %t, want %t", i, row.counter, got, row.want)
		}
	}
}

// TestReplayWindowEdges is row W3 of the faults: what is exactly as old as the
// window, and one more, behind some largest counters.
func TestReplayWindowEdges(t *testing.T) {
	for _, n := range []uint64{WindowSize, WindowSize + 63, 1 << 20, 1 << 32, 1 << 60, RejectAfterMessages - 1} {
		var w window
		for _, row := range []struct {
			counter uint64
			want    bool
		}{
			{n, true},
			{n, false},
			{n - WindowSize + 1, true},
			{n - WindowSize, true},
			{n - WindowSize, false},
			{n - WindowSize - 1, false}, // wraps to the largest number for the first n
		} {
			if got := w.accept(row.counter); got != row.want {
				t.Errorf("behind %d: counter %d accepted %t, want %t", n, row.counter, got, row.want)
			}
		}
	}
}

// TestReplayBulk is the bulk runs of the kernel's selftest: every counter of
// the window, upwards and downwards.
func TestReplayBulk(t *testing.T) {
	const size = WindowSize
	up := func(from, to uint64) (run []uint64) {
		for c := from; c <= to; c++ {
			run = append(run, c)
		}
		return run
	}
	down := func(from, to uint64) (run []uint64) {
		for c := from + 1; c > to; c-- {
			run = append(run, c-1)
		}
		return run
	}
	for _, tt := range []struct {
		name string
		run  []uint64 // all accepted
		then []uint64 // accepted too
		not  []uint64 // refused after that
	}{
		{"up, then the window's last", up(1, size), []uint64{0}, []uint64{0}},
		{"up by one more", up(2, size+1), []uint64{1}, []uint64{0}},
		{"down to the last", down(size, 0), nil, []uint64{0, 1, size}},
		{"down, one fell out", down(size+1, 1), nil, []uint64{0}},
		{"down, then one pushes the last out", down(size, 1), []uint64{size + 1}, []uint64{0}},
		{"down, the last, then one more", down(size, 1), []uint64{0, size + 1}, []uint64{0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w window
			for _, c := range append(tt.run, tt.then...) {
				if !w.accept(c) {
					t.Fatalf("counter %d refused", c)
				}
			}
			for _, c := range tt.not {
				if w.accept(c) {
					t.Errorf("counter %d accepted", c)
				}
			}
		})
	}
}

// TestReplayModel runs long random sequences against the model: in order with
// jumps of every size, late ones, repeated ones.
func TestReplayModel(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		var w window
		m := newReplayModel()
		base := r.Uint64N(RejectAfterMessages)
		for i := range 20_000 {
			base += 1 << r.IntN(r.IntN(15)+1) >> 1
			c := base - r.Uint64N(1<<r.IntN(15))
			if got, want := w.accept(c), m.accept(c); got != want {
				t.Fatalf("seed %d, step %d: counter %d accepted %t, want %t", seed, i, c, got, want)
			}
		}
	}
}

// replayModel is a window as one would write it without a care for memory.
type replayModel struct {
	seen map[uint64]bool
	top  uint64
}

func newReplayModel() *replayModel { return &replayModel{seen: map[uint64]bool{}} }

func (m *replayModel) accept(c uint64) bool {
	if c >= RejectAfterMessages || m.seen[c] || m.top > WindowSize && c < m.top-WindowSize {
		return false
	}
	m.seen[c] = true
	m.top = max(m.top, c)
	return true
}

// FuzzReplay holds the window to the model. Each 9 bytes are one counter: how
// it is meant, and a number.
func FuzzReplay(f *testing.F) {
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var w window
		m := newReplayModel()
		last := uint64(0)
		for ; len(steps) >= 9; steps = steps[9:] {
			n := binary.LittleEndian.Uint64(steps[1:9])
			switch steps[0] % 5 {
			case 0:
				last = n
			case 1:
				last += n % (2 * windowWords * 64)
			case 2:
				last -= n % (2 * windowWords * 64)
			case 3:
				last = RejectAfterMessages - n%(windowWords*64)
			case 4: // the same again
			}
			if got, want := w.accept(last), m.accept(last); got != want {
				t.Fatalf("counter %d behind %d accepted %t, want %t", last, m.top, got, want)
			}
		}
	})
}
