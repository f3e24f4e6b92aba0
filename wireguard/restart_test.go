package wireguard

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
)

// restartable is a pair of which each side can end and begin again.
type restartable struct {
	*side
	config Config
	stop   func()
}

// restartablePair is a running pair.
func restartablePair(t *testing.T) (a, b *restartable) {
	var pair [2]*restartable
	sides := pairOf(t, newMemNet(), &testClock{start: time.Now()}, func(i int, c *Config) { pair[i] = &restartable{config: *c} })
	for i, r := range pair {
		r.side = sides[i]
		r.run(t)
	}
	return pair[0], pair[1]
}

func (r *restartable) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	device := r.Device
	running.Go(func() {
		if err := device.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	r.stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(func() { r.stop() })
	<-device.Ready()
}

// restart ends the device without a word to its peer and begins anew, with the
// clock set as it is told.
func (r *restartable) restart(t *testing.T, clockStep time.Duration) {
	t.Helper()
	r.stop()
	c := r.config
	c.Clock = func() engine.Time {
		now := r.config.Clock()
		now.Wall = now.Wall.Add(clockStep)
		return now
	}
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	r.Device = d
	r.run(t)
}

// TestW14PeerRestarts: a peer that was killed comes back with the same key and
// no memory. Who has something to send is the one that notices.
func TestW14PeerRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := restartablePair(t)
		a.send(t, b.side, 1, 84)
		synctest.Wait()
		b.restart(t, 0)
		b.send(t, a.side, 1, 84)
		synctest.Wait()
		if a.received() != 1 {
			t.Error("a packet of the restarted peer did not arrive at once")
		}
		a.send(t, b.side, 1, 84)
		synctest.Wait()
		if b.received() != 2 || b.Drops()["find"] != 0 {
			t.Error("the answer did not arrive, or was sent with the old keys")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		a, b := restartablePair(t)
		a.send(t, b.side, 1, 84)
		synctest.Wait()
		b.restart(t, 0)
		start := time.Now()
		for b.received() == 1 && time.Since(start) < time.Minute {
			a.send(t, b.side, 1, 84)
			time.Sleep(10 * time.Millisecond)
		}
		limit := engine.KeepaliveTimeout + engine.RekeyTimeout + 343*time.Millisecond
		if took := time.Since(start); took > limit {
			t.Errorf("traffic was back after %v, want 15 s and the jitter", took)
		}
		if b.Drops()["find"] == 0 {
			t.Error("nothing was sent with the old keys: the test shows nothing")
		}
	})
}

// TestW13ClockSteps: the wall clock jumps in a session, which does not notice,
// and the next handshakes neither.
func TestW13ClockSteps(t *testing.T) {
	for _, step := range []time.Duration{-time.Hour, -10 * 365 * 24 * time.Hour, 10 * 365 * 24 * time.Hour, -time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			var stepped atomic.Int64
			clock := &testClock{start: time.Now()}
			sides := pairOf(t, newMemNet(), clock, func(_ int, c *Config) {
				c.Clock = func() engine.Time {
					now := clock.now()
					now.Wall = now.Wall.Add(time.Duration(stepped.Load()))
					return now
				}
			})
			run(t, sides[:]...)
			synctest.Wait()
			a, b := sides[0], sides[1]
			a.send(t, b, 1, 84)
			synctest.Wait()
			stepped.Store(int64(step))
			const seconds = 600
			for range seconds {
				a.send(t, b, 1, 84)
				b.send(t, a, 1, 84)
				time.Sleep(time.Second)
			}
			if a.received() != seconds || b.received() != seconds+1 {
				t.Errorf("step %v: %d and %d packets arrived, want all %d", step, a.received(), b.received(), seconds)
			}
			if n := a.events.count(engine.EventHandshake); n < 5 || n > 6 {
				t.Errorf("step %v: %d handshakes in ten minutes, want one every 120 s", step, n)
			}
			if drops := a.Drops(); len(drops) != 0 {
				t.Errorf("step %v: dropped %v", step, drops)
			}
		})
	}
}

// TestW13ClockBehindAfterRestart: a device that restarts with its clock set
// back is refused by who remembers, which shows in the counters and one event
// of the other, and heals as soon as the other side sends.
func TestW13ClockBehindAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := restartablePair(t)
		a.send(t, b.side, 1, 84)
		synctest.Wait()
		a.restart(t, -time.Hour)
		time.Sleep(time.Second)
		a.send(t, b.side, 1, 84)
		time.Sleep(2 * time.Minute)
		if n := b.Drops()["replay"]; n != 20 {
			t.Errorf("the other side counts %v, want 20 refused initiations", b.Drops())
		}
		if n := b.events.count(engine.EventOldTimestamp); n != 1 {
			t.Errorf("the other side told of it %d times, want once", n)
		}
		if n := a.events.count(engine.EventGaveUp); n != 1 {
			t.Errorf("gave up %d times, want once", n)
		}
		received := a.received()
		b.send(t, a.side, 1, 84)
		time.Sleep(16 * time.Second)
		b.send(t, a.side, 1, 84)
		synctest.Wait()
		if a.received() == received {
			t.Error("the side that was refused can't be reached either")
		}
		a.send(t, b.side, 1, 84)
		synctest.Wait()
		if b.received() != 2 {
			t.Error("the side that was refused can't send in the other's session")
		}
	})
}
