package engine

import (
	"fmt"
	"testing"
	"time"
)

// allTimers are timers that are all pending, at different times.
func allTimers() timers {
	return timers{
		retransmit: 1001 * time.Second, keepalive: 1002 * time.Second, newHandshake: 1003 * time.Second,
		zeroKeys: 1004 * time.Second, persistent: 1005 * time.Second,
		attempts: 7, lastMinuteSent: true,
	}
}

func noTimers() (t timers) {
	t.disarm()
	return t
}

// TestTimerHooks is the kernel's table of what arms and cancels the timers
// (PROTOCOL, 1.8), at 1000 s.
func TestTimerHooks(t *testing.T) {
	const (
		now    = 1000 * time.Second
		jitter = 123 * time.Millisecond
	)
	l := newLab(t, 1)
	a := l.add(Config{Rand: &steadyJitter{jitter: jitter, keys: l.source(1)}})
	a.knows(l.add(Config{}))
	p := a.peer(l.nodes[1])
	l.now = now

	dataSent := func() { p.dataSent(a.time()) }
	dataReceived := func() { p.dataReceived(a.time()) }
	authSent := func() { p.authSent(a.time()) }
	authReceived := func() { p.authReceived(a.time()) }
	complete := func() { p.handshakeComplete(a.time(), &a.out) }
	derived := func() { p.sessionDerived(a.time()) }

	for _, tt := range []struct {
		name       string
		hook       func()
		persistent time.Duration
		before     timers
		want       func(*timers) // what differs from before
	}{
		{"data sent", dataSent, 0, noTimers(), func(t *timers) { t.newHandshake = now + 15*time.Second + jitter }},
		{"data sent, not the first: not put off", dataSent, 0, allTimers(), func(*timers) {}},
		{"data sent alone is no traversal", dataSent, time.Second, noTimers(), func(t *timers) { t.newHandshake = now + 15*time.Second + jitter }},
		{"data received", dataReceived, 0, noTimers(), func(t *timers) { t.keepalive = now + 10*time.Second }},
		{"data received, not the first: not put off", dataReceived, 0, allTimers(), func(*timers) {}},
		{"authenticated sent", authSent, 0, allTimers(), func(t *timers) { t.keepalive = never }},
		{"authenticated sent, persistent", authSent, 25 * time.Second, allTimers(), func(t *timers) {
			t.keepalive, t.persistent = never, now+25*time.Second
		}},
		{"authenticated received", authReceived, 0, allTimers(), func(t *timers) { t.newHandshake = never }},
		{"authenticated received, persistent", authReceived, 25 * time.Second, allTimers(), func(t *timers) {
			t.newHandshake, t.persistent = never, now+25*time.Second
		}},
		{"no persistent keepalive, none armed", authReceived, 0, noTimers(), func(*timers) {}},
		{"handshake complete", complete, 0, allTimers(), func(t *timers) {
			t.retransmit, t.attempts, t.lastMinuteSent = never, 0, false
		}},
		{"session derived", derived, 0, noTimers(), func(t *timers) { t.zeroKeys = now + 540*time.Second }},
		{"session derived, again", derived, 0, allTimers(), func(t *timers) { t.zeroKeys = now + 540*time.Second }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.persistent, p.timers = tt.persistent, tt.before
			want := tt.before
			tt.want(&want)
			tt.hook()
			if p.timers != want {
				t.Errorf("timers\n     %+v\nwant %+v", p.timers, want)
			}
		})
	}
	if got := time.Unix(0, p.lastHandshake.Load()); !got.Equal(a.time().Wall) {
		t.Errorf("the last handshake was at %v, want the wall clock's %v", got, a.time().Wall)
	}
	p.timers.disarm()
}

// TestTimerExpiry is the kernel's table of what expiring timers do: nothing a
// nanosecond early, and all of it at their time.
func TestTimerExpiry(t *testing.T) {
	const at = 30 * time.Second
	for _, tt := range []struct {
		name    string
		session bool
		prepare func(p *Peer)
		sent    []string
		events  []string
		want    func(*timers) // what is pending afterwards
	}{
		{
			"retransmit: the next initiation",
			false,
			func(p *Peer) { p.timers.retransmit, p.timers.attempts = at, 3 },
			[]string{"30s initiation"},
			[]string{"30s attempt 1"},
			func(t *timers) { t.retransmit, t.attempts = at+5*time.Second, 4 },
		},
		{
			"retransmit, the last",
			false,
			func(p *Peer) { p.timers.retransmit, p.timers.attempts = at, 18 },
			[]string{"30s initiation"},
			[]string{"30s attempt 1"},
			func(t *timers) { t.retransmit, t.attempts = at+5*time.Second, 19 },
		},
		{
			"retransmit, none left: gives up, and keys are zeroed in time",
			false,
			func(p *Peer) { p.timers.retransmit, p.timers.keepalive, p.timers.attempts = at, at+time.Second, 19 },
			nil,
			[]string{"30s gave up"},
			func(t *timers) { t.zeroKeys, t.attempts = at+540*time.Second, 19 },
		},
		{
			"retransmit, none left: zeroing that is pending is not put off",
			true,
			func(p *Peer) { p.timers.retransmit, p.timers.attempts = at, 19 },
			nil,
			[]string{"30s gave up"},
			func(t *timers) { t.zeroKeys, t.attempts = 540*time.Second, 19 },
		},
		{
			"retransmit, early for Rekey-Timeout: put off",
			false,
			func(p *Peer) { p.timers.retransmit, p.notBefore = at, at+2*time.Second },
			nil,
			nil,
			func(t *timers) { t.retransmit = at + 2*time.Second },
		},
		{
			"new handshake: an initiation that is no retransmission",
			true,
			func(p *Peer) { p.timers.newHandshake, p.timers.attempts = at, 3 },
			[]string{"30s initiation"},
			[]string{"30s attempt 1"},
			func(t *timers) { t.zeroKeys, t.retransmit = 540*time.Second, at+5*time.Second },
		},
		{
			"passive keepalive",
			true,
			func(p *Peer) { p.timers.keepalive = at },
			[]string{"30s keepalive"},
			nil,
			func(t *timers) { t.zeroKeys = 540 * time.Second },
		},
		{
			"passive keepalive without a session: a handshake",
			false,
			func(p *Peer) { p.timers.keepalive = at },
			[]string{"30s initiation"},
			[]string{"30s attempt 1"},
			func(t *timers) { t.retransmit = at + 5*time.Second },
		},
		{
			"persistent keepalive",
			true,
			func(p *Peer) { p.timers.persistent, p.persistent = at, 25*time.Second },
			[]string{"30s keepalive"},
			nil,
			func(t *timers) { t.zeroKeys, t.persistent = 540*time.Second, at+25*time.Second },
		},
		{
			"persistent keepalive without a session: a handshake",
			false,
			func(p *Peer) { p.timers.persistent, p.persistent = at, 25*time.Second },
			[]string{"30s initiation"},
			[]string{"30s attempt 1"},
			func(t *timers) { t.retransmit, t.persistent = at+5*time.Second, at+25*time.Second },
		},
		{
			"persistent keepalive, switched off meanwhile",
			true,
			func(p *Peer) { p.timers.persistent, p.persistent = at, 0 },
			nil,
			nil,
			func(t *timers) { t.zeroKeys = 540 * time.Second },
		},
		{
			"both keepalives: one is sent",
			true,
			func(p *Peer) { p.timers.keepalive, p.timers.persistent, p.persistent = at, at, 25*time.Second },
			[]string{"30s keepalive"},
			nil,
			func(t *timers) { t.zeroKeys, t.persistent = 540*time.Second, at+25*time.Second },
		},
		{
			"keys are zeroed",
			true,
			func(p *Peer) { p.timers.zeroKeys = at },
			nil,
			[]string{"30s keys zeroed"},
			func(*timers) {},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, a, b := steady(t, 0)
			if tt.session {
				a.greet(b)
				l.run(0)
				a.trace, a.happened = nil, nil
			}
			l.carry = lose
			p := a.peer(b)
			p.lock.Lock()
			tt.prepare(p)
			p.unlock(&a.out)
			a.settle()

			l.run(at - 1)
			a.expect("a nanosecond early")
			l.run(at)
			a.expect("at the time", tt.sent...)
			a.expectEvents("at the time", tt.events...)
			want := noTimers()
			tt.want(&want)
			if p.timers != want {
				t.Errorf("timers\n     %+v\nwant %+v", p.timers, want)
			}
		})
	}
}

// TestRearm: a deadline is announced when it moved earlier than the caller
// knows, and not otherwise: a data packet would cost a heap operation.
func TestRearm(t *testing.T) {
	l, a, b := steady(t, 0)
	a.greet(b)
	l.run(6 * time.Second) // behind the retransmission that was not needed
	p, k := a.peer(b), a.peer(b).current.Load()
	sent := func(want int) {
		t.Helper()
		var out Output
		p.Sent(a.time(), k, 64, &out)
		if len(out.Rearm) != want {
			t.Errorf("at %v: announced %d times, want %d", l.now, len(out.Rearm), want)
		}
		a.out.Rearm = append(a.out.Rearm, out.Rearm...)
		a.settle()
	}
	sent(1) // the dead-peer timer
	sent(0)
	l.run(7 * time.Second)
	sent(0)
	b.greet(a) // cancels it, which is not earlier
	l.run(8 * time.Second)
	sent(0) // 23 s is later than the 21 s that are known
	l.run(22 * time.Second)
	if p.Deadline() != 23*time.Second || a.timers[0].at != 23*time.Second {
		t.Errorf("deadline %v, known %v, want 23s", p.Deadline(), a.timers[0].at)
	}
}

// TestJitterRange: 0 to 333 ms, both ends included, and every part of it as
// often as the others.
func TestJitterRange(t *testing.T) {
	l := newLab(t, 1)
	e := New(Config{Rand: l.source(1)})
	const draws, parts = 100_000, 10
	var counts [parts]int
	for range draws {
		j := e.jitter()
		if j < 0 || j > 333*time.Millisecond {
			t.Fatalf("jitter %v", j)
		}
		counts[j*parts/(333*time.Millisecond+1)]++
	}
	for i, n := range counts {
		if n < draws/parts*9/10 || n > draws/parts*11/10 {
			t.Errorf("part %d of %d has %d of %d draws", i, parts, n, draws)
		}
	}
}

// eachJitter runs a test with the least, a middle and the greatest jitter.
func eachJitter(t *testing.T, f func(t *testing.T, jitter time.Duration)) {
	for _, j := range []time.Duration{0, 100 * time.Millisecond, 333 * time.Millisecond} {
		t.Run(fmt.Sprintf("jitter %v", j), func(t *testing.T) { f(t, j) })
	}
}

// at is a line of a trace.
func at(when time.Duration, what string) string { return fmt.Sprintf("%v %s", when, what) }
