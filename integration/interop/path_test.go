package interop

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// path is what one direction of a relay does to datagrams. The zero value
// carries all of them, at once and in order.
type path struct {
	// loss and duplicate are the shares that are lost, and that come twice.
	loss, duplicate float64
	// delay is the time on the way, and jitter what is added to it at most,
	// each time anew, so that datagrams overtake each other.
	delay, jitter time.Duration
	// reorder is how many datagrams in a row leave in an order of chance. What
	// is left of them leaves when no more have come for reorderWait.
	reorder int
	// largest is the most bytes of UDP payload that pass; what is larger
	// vanishes without a word. 0 is no limit.
	largest int
	// rate is in bytes a second, 0 for no limit. What would have to wait
	// longer than queue at the bottleneck is lost; 0 is for ever.
	rate  float64
	queue time.Duration
}

// reorderWait is longer than the pauses in a transfer and shorter than TCP's
// patience.
const reorderWait = 20 * time.Millisecond

// headerBytes is what a datagram costs the bottleneck beside its payload.
const headerBytes = 28

// lane is a path at work. Time is what its caller says that it is.
type lane struct {
	path
	random *rand.Rand
	block  []parcel // not yet in a new order
	fresh  time.Duration
	free   time.Duration // when the bottleneck has sent all it was given
	sorted []parcel      // on the way, by the end of it
}

// parcel is a datagram on its way.
type parcel struct {
	size int
	send func()
	due  time.Duration
}

func newLane(p path, seed uint64) *lane {
	return &lane{path: p, random: rand.New(rand.NewPCG(seed, 0))}
}

// push puts a datagram of size bytes on the way; send is what happens at the
// end of it.
func (l *lane) push(now time.Duration, size int, send func()) {
	copies := 1
	if l.duplicate > 0 && l.random.Float64() < l.duplicate {
		copies = 2
	}
	for range copies {
		if l.largest > 0 && size > l.largest || l.loss > 0 && l.random.Float64() < l.loss {
			continue
		}
		p := parcel{size: size, send: send}
		if l.reorder > 1 {
			l.collect(now, p)
		} else {
			l.depart(now, p)
		}
	}
}

// collect fills a block, which leaves when it is full.
func (l *lane) collect(now time.Duration, p parcel) {
	l.fresh = now
	l.block = append(l.block, p)
	if len(l.block) == l.reorder {
		l.shuffle(now)
	}
}

func (l *lane) shuffle(now time.Duration) {
	l.random.Shuffle(len(l.block), func(i, j int) { l.block[i], l.block[j] = l.block[j], l.block[i] })
	for _, p := range l.block {
		l.depart(now, p)
	}
	l.block = l.block[:0]
}

// depart passes the bottleneck.
func (l *lane) depart(now time.Duration, p parcel) {
	p.due = now
	if l.rate > 0 {
		p.due = max(now, l.free)
		if l.queue > 0 && p.due-now > l.queue {
			return
		}
		l.free = p.due + time.Duration(float64(p.size+headerBytes)/l.rate*float64(time.Second))
	}
	p.due += l.delay
	if l.jitter > 0 {
		p.due += time.Duration(l.random.Int64N(int64(l.jitter)))
	}
	i := len(l.sorted) // who is due at the same time was first
	for i > 0 && l.sorted[i-1].due > p.due {
		i--
	}
	l.sorted = slices.Insert(l.sorted, i, p)
}

// pop is the end of the way of the next datagram that is due, or nil.
func (l *lane) pop(now time.Duration) (send func()) {
	if len(l.block) > 0 && now >= l.fresh+reorderWait {
		l.shuffle(now)
	}
	if len(l.sorted) == 0 || l.sorted[0].due > now {
		return nil
	}
	send = l.sorted[0].send
	l.sorted[0] = parcel{}
	l.sorted = l.sorted[1:]
	return send
}

// next is when pop is to be called again, or never.
func (l *lane) next() time.Duration {
	at := never
	if len(l.block) > 0 {
		at = l.fresh + reorderWait
	}
	if len(l.sorted) > 0 {
		at = min(at, l.sorted[0].due)
	}
	return at
}

const never = time.Duration(math.MaxInt64)

// TestPath sends numbered datagrams over each kind of path and looks at what
// arrives, when.
func TestPath(t *testing.T) {
	t.Parallel()
	const sent, seed = 20000, 1
	type landing struct {
		number int
		at     time.Duration
	}
	for name, test := range map[string]struct {
		path  path
		check func(got []landing) bool
	}{
		"nothing": {path{}, func(got []landing) bool { return len(got) == sent }},
		"loss": {path{loss: 0.3}, func(got []landing) bool {
			return len(got) > 0.68*sent && len(got) < 0.72*sent
		}},
		"duplicates": {path{duplicate: 0.1}, func(got []landing) bool {
			return len(got) > 1.08*sent && len(got) < 1.12*sent
		}},
		"black hole": {path{largest: 999}, func(got []landing) bool { return len(got) == sent/2 }},
		"delay": {path{delay: time.Second}, func(got []landing) bool {
			return len(got) == sent && got[0].at == time.Second
		}},
		"jitter": {path{jitter: 10 * time.Millisecond}, func(got []landing) bool {
			return len(got) == sent && !slices.IsSortedFunc(got, func(a, b landing) int { return a.number - b.number })
		}},
		// Half of them have 999 bytes, half 1000, and all the headers' 28.
		"rate": {path{rate: 1027.5e3}, func(got []landing) bool {
			return len(got) == sent && (got[sent-1].at-sent*time.Millisecond).Abs() < 10*time.Millisecond
		}},
		// Ten times too fast for it, and the queue holds 50.
		"queue": {path{rate: 102.75e3, queue: 500 * time.Millisecond}, func(got []landing) bool {
			return len(got) > 0.09*sent && len(got) < 0.11*sent
		}},
		"reorder": {path{reorder: 5000}, func(got []landing) bool {
			farthest := 0
			for place, a := range got {
				farthest = max(farthest, a.number-place, place-a.number)
			}
			return len(got) == sent && farthest > 4000 && farthest < 5000
		}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLane(test.path, seed)
			var got []landing
			var now time.Duration
			arrive := func(until time.Duration) {
				for l.next() <= until {
					now = max(now, l.next())
					if send := l.pop(now); send != nil {
						send()
					}
				}
				now = until
			}
			for i := range sent {
				arrive(time.Duration(i) * time.Millisecond)
				l.push(now, 999+i%2, func() { got = append(got, landing{i, now}) })
			}
			arrive(never - 1)
			if !test.check(got) {
				t.Errorf("%d of %d datagrams arrived, the last at %v (seed %d): that is not %+v", len(got), sent, now, seed, test.path)
			}
		})
	}
}
