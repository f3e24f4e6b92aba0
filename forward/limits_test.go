package forward

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

func TestIdleLimits(t *testing.T) {
	const never = 100 * 365 * 24 * time.Hour
	halfClose := func(_ *testing.T, client, _ *memConn) { client.CloseWrite() }
	for _, tt := range []struct {
		name             string
		idle, halfClosed time.Duration                               // the fields
		do               func(t *testing.T, client, target *memConn) // before the silence
		want             time.Duration                               // of silence
	}{
		{name: "default", want: 2 * time.Hour},
		{name: "own limit", idle: time.Minute, want: time.Minute},
		{name: "no limit", idle: -1, want: never},
		{name: "half-closed default", do: halfClose, want: time.Minute},
		{name: "own half-closed limit", halfClosed: time.Second, do: halfClose, want: time.Second},
		{name: "no half-closed limit", halfClosed: -1, do: halfClose, want: 2 * time.Hour},
		{name: "no limit at all", idle: -1, halfClosed: -1, do: halfClose, want: never},
		{name: "a shorter idle limit holds half-closed too", idle: time.Second, do: halfClose, want: time.Second},
		{
			name: "data upwards puts the end off",
			do: func(t *testing.T, client, target *memConn) {
				for range 3 {
					time.Sleep(time.Hour + 59*time.Minute)
					write(t, client, "x")
					expect(t, target, "x")
				}
			},
			want: 2 * time.Hour,
		},
		{
			name: "data downwards puts the end off, half-closed",
			do: func(t *testing.T, client, target *memConn) {
				client.CloseWrite()
				for range 3 {
					time.Sleep(59 * time.Second)
					write(t, target, "x")
					expect(t, client, "x")
				}
			},
			want: time.Minute,
		},
		{
			name: "the limit is shortened when a direction ends late",
			do: func(_ *testing.T, client, _ *memConn) {
				time.Sleep(time.Hour)
				client.CloseWrite()
			},
			want: time.Minute,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, target, run := mem(t.Context(), &Relay{IdleTimeout: tt.idle, HalfClosedTimeout: tt.halfClosed})
				defer client.Close()
				defer target.Close()
				if tt.do != nil {
					tt.do(t, client, target)
				}
				synctest.Wait()
				silence := time.Now()
				select {
				case <-run.done:
				case <-time.After(never):
					if tt.want != never {
						t.Fatalf("never ended, want an end after %v", tt.want)
					}
					return
				}
				if got := time.Since(silence); got != tt.want {
					t.Errorf("ended after %v of silence, want %v", got, tt.want)
				}
				if _, err := run.wait(t); !errors.Is(err, ErrIdle) {
					t.Errorf("Run: %v, want ErrIdle", err)
				}
			})
		})
	}
}

// TestStuckWriteIsIdle has a client that stops reading: no byte moves, so the limit holds.
func TestStuckWriteIsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, target, run := mem(t.Context(), new(Relay))
		write(t, target, "x")
		begin := time.Now()
		_, err := run.wait(t)
		if got := time.Since(begin); got != 2*time.Hour || !errors.Is(err, ErrIdle) {
			t.Errorf("Run ended after %v with %v, want ErrIdle after 2h", got, err)
		}
	})
}

// TestNoCloseWrite has a target that can't be told of the client's end: the half-closed limit ends the run, and the
// answer passes until then.
func TestNoCloseWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, nearClient := newMemPair()
		target, nearTarget := newMemPair()
		run := start(t.Context(), new(Relay), nearClient, opaque{nearTarget})
		client.CloseWrite()
		write(t, target, "answer")
		expect(t, client, "answer")
		if _, err := run.wait(t); !errors.Is(err, ErrIdle) {
			t.Errorf("Run: %v, want ErrIdle", err)
		}
		expectEOF(t, target)
	})
}

// TestF3 is back-pressure: while the client does not read, the target can write no more than one buffer's worth, and
// the run holds that one buffer.
func TestF3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := new(Relay)
		client, target, run := mem(t.Context(), relay)
		const size = 4 << 20
		sent := &countingWriter{w: target}
		go func() {
			_, _ = io.Copy(sent, stream(3, size))
			target.CloseWrite()
		}()
		synctest.Wait()
		// What the connection's own buffer holds counts too: waitConn has one of the same size.
		if sent.n > 2*largeSize {
			t.Errorf("%d bytes were taken from the target, want at most %d", sent.n, 2*largeSize)
		}
		if n := relay.buffers.taken.Load(); n != 1 {
			t.Errorf("%d buffers in use while one direction is stuck, want 1", n)
		}
		if got, want := sum(client), sum(stream(3, size)); !bytes.Equal(got, want) {
			t.Errorf("seed 3: received a stream with sha256 %x, want %x", got, want)
		}
		client.CloseWrite()
		if traffic, err := run.wait(t); traffic != (Traffic{0, size}) || err != nil {
			t.Errorf("Run = %+v, %v", traffic, err)
		}
	})
}

// countingWriter counts what its writer took.
type countingWriter struct {
	w io.Writer
	n int
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += n
	return n, err
}

func TestIdleRunHoldsNoBuffer(t *testing.T) {
	client, nearClient := newTCPPair(t)
	target, nearTarget := newTCPPair(t)
	relay := new(Relay)
	run := start(t.Context(), relay, nearClient, nearTarget)
	for range 3 {
		write(t, client, "ping")
		expect(t, target, "ping")
		write(t, target, "pong")
		expect(t, client, "pong")
		holdsNoBuffer(t, relay)
	}
	client.Close()
	target.Close()
	if _, err := run.wait(t); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestStuckRunsDoNotStopOthers takes all buffers by clients that do not read: others go on with small ones of their own.
func TestStuckRunsDoNotStopOthers(t *testing.T) {
	for _, tt := range []struct {
		name       string
		maxBuffers int
		want       int64 // in use by the stuck one
	}{{"one buffer", 1, 1}, {"no buffers", -1, 0}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				relay := &Relay{MaxBuffers: tt.maxBuffers}
				client1, target1, run1 := mem(t.Context(), relay)
				write(t, target1, "stuck")
				synctest.Wait()
				if n := relay.buffers.taken.Load(); n != tt.want {
					t.Errorf("%d buffers in use, want %d", n, tt.want)
				}

				client2, target2, run2 := mem(t.Context(), relay)
				const size = 100_000
				go func() {
					_, _ = io.Copy(target2, stream(4, size))
					target2.CloseWrite()
				}()
				if got, want := sum(client2), sum(stream(4, size)); !bytes.Equal(got, want) {
					t.Errorf("seed 4: received a stream with sha256 %x, want %x", got, want)
				}
				client2.Close()
				<-run2.done
				expect(t, client1, "stuck")
				client1.Close()
				target1.Close()
				<-run1.done
				if n := relay.buffers.taken.Load(); n != 0 {
					t.Errorf("%d buffers in use after the end", n)
				}
			})
		})
	}
}
