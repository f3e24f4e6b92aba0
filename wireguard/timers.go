package wireguard

import (
	"container/heap"
	"context"
	"math"
	"sync"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
)

const (
	// maxSleep is the longest the timer loop sleeps, so that it notices a
	// suspend soon after the machine wakes.
	maxSleep = 5 * time.Second
	// asleepAfter is the gap between two rounds of the loop that can only be a
	// suspend, or a process that was stopped for as long.
	asleepAfter = maxSleep + 10*time.Second
)

// timerQueue orders the peers by their deadlines.
type timerQueue struct {
	wake chan struct{}

	mu    sync.Mutex
	heap  deadlineHeap                // guarded by mu
	index map[*engine.Peer]*peerTimer // guarded by mu
}

// peerTimer is one peer's place in the heap.
type peerTimer struct {
	peer *engine.Peer
	at   time.Duration
	pos  int
}

func (q *timerQueue) init() {
	q.wake = make(chan struct{}, 1)
	q.index = map[*engine.Peer]*peerTimer{}
}

// rearm puts p where its present deadline belongs, and wakes the loop when
// that is the first of all.
func (q *timerQueue) rearm(p *engine.Peer) {
	q.mu.Lock()
	at := p.Deadline() // read under mu, so that forget comes before or after
	if at == math.MaxInt64 {
		q.mu.Unlock()
		return // it was disarmed meanwhile
	}
	t := q.index[p]
	switch {
	case t == nil:
		t = &peerTimer{peer: p, at: at}
		q.index[p] = t
		heap.Push(&q.heap, t)
	case at < t.at:
		t.at = at
		heap.Fix(&q.heap, t.pos)
	}
	first := q.heap[0] == t
	q.mu.Unlock()
	if first {
		q.poke()
	}
}

// forget takes out peers that were removed: their places would keep them in
// memory, with what they know, until their last deadline.
func (q *timerQueue) forget(removed func(*engine.Peer) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	kept := q.heap[:0]
	for _, t := range q.heap {
		if removed(t.peer) {
			delete(q.index, t.peer)
			continue
		}
		t.pos = len(kept)
		kept = append(kept, t)
	}
	clear(q.heap[len(kept):])
	q.heap = kept
	heap.Init(&q.heap)
}

// poke wakes the loop.
func (q *timerQueue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// due removes and returns a peer whose deadline has come, or nil and how long
// the next one is away.
func (q *timerQueue) due(now time.Duration) (*engine.Peer, time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.heap) == 0 {
		return nil, maxSleep
	}
	if t := q.heap[0]; t.at > now {
		return nil, min(t.at-now, maxSleep)
	}
	t := heap.Pop(&q.heap).(*peerTimer)
	delete(q.index, t.peer)
	return t.peer, 0
}

// runTimers advances peers whose time has come, and looks after what belongs
// to no packet: suspend and endpoint names. It starts lookups as tasks.
func (d *Device) runTimers(ctx context.Context, tasks *sync.WaitGroup) {
	var out engine.Output
	sleep := time.NewTimer(0)
	defer sleep.Stop()
	last := d.clock().Boot
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.timers.wake:
		case <-sleep.C:
		}
		now := d.clock()
		if now.Boot-last > asleepAfter {
			d.log.Info("the machine was asleep, new handshakes", "for", (now.Boot - last).Round(time.Second))
			d.configure(func(out *engine.Output) { d.engine.Suspend(now, out) })
		}
		last = now.Boot
		next := d.endpoints.tick(ctx, now.Boot, tasks)
		for {
			p, wait := d.timers.due(now.Boot)
			if p == nil {
				sleep.Reset(min(wait, next-now.Boot))
				break
			}
			p.Advance(now, &out)
			d.act(&out)
		}
	}
}

// deadlineHeap is a container/heap of peers by deadline.
type deadlineHeap []*peerTimer

func (h deadlineHeap) Len() int           { return len(h) }
func (h deadlineHeap) Less(i, j int) bool { return h[i].at < h[j].at }

func (h deadlineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}

func (h *deadlineHeap) Push(x any) {
	t := x.(*peerTimer)
	t.pos = len(*h)
	*h = append(*h, t)
}

func (h *deadlineHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return t
}
