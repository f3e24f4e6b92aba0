package netstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestRace plays names whose addresses come and answer at scripted times.
func TestRace(t *testing.T) {
	const ms = time.Millisecond
	notFound := &net.DNSError{Err: "no such host", IsNotFound: true}
	silent := errors.New("the server is silent")
	type lookup struct {
		after time.Duration
		addrs []netip.Addr
		err   error
	}
	// An address connects, or is refused, after so long.
	connects := func(d time.Duration) func() (time.Duration, error) {
		return func() (time.Duration, error) { return d, nil }
	}
	refused := func(d time.Duration) func() (time.Duration, error) {
		return func() (time.Duration, error) { return d, syscall.ECONNREFUSED }
	}
	blackHole := connects(time.Hour)
	for _, test := range []struct {
		name    string
		lookups []lookup
		hosts   map[string]func() (time.Duration, error)
		winner  string
		err     error
		tried   []string // in this order
		at      time.Duration
	}{
		{
			name:    "both families at once: IPv6 goes first",
			lookups: []lookup{{0, addrs("192.0.2.1"), nil}, {0, addrs("2001:db8::1"), nil}},
			hosts:   map[string]func() (time.Duration, error){"2001:db8::1": connects(10 * ms), "192.0.2.1": connects(0)},
			winner:  "2001:db8::1", tried: []string{"2001:db8::1"}, at: 10 * ms,
		},
		{
			name:    "IPv6 is broken: IPv4 goes 250 ms later",
			lookups: []lookup{{0, addrs("192.0.2.1"), nil}, {0, addrs("2001:db8::1"), nil}},
			hosts:   map[string]func() (time.Duration, error){"2001:db8::1": blackHole, "192.0.2.1": connects(10 * ms)},
			winner:  "192.0.2.1", tried: []string{"2001:db8::1", "192.0.2.1"}, at: 260 * ms,
		},
		{
			name:    "a refusal is not waited for",
			lookups: []lookup{{0, addrs("192.0.2.1"), nil}, {0, addrs("2001:db8::1"), nil}},
			hosts:   map[string]func() (time.Duration, error){"2001:db8::1": refused(5 * ms), "192.0.2.1": connects(10 * ms)},
			winner:  "192.0.2.1", tried: []string{"2001:db8::1", "192.0.2.1"}, at: 15 * ms,
		},
		{
			name:    "the AAAA query is never answered: 50 ms",
			lookups: []lookup{{0, addrs("192.0.2.1"), nil}, {8 * time.Second, nil, silent}},
			hosts:   map[string]func() (time.Duration, error){"192.0.2.1": connects(10 * ms)},
			winner:  "192.0.2.1", tried: []string{"192.0.2.1"}, at: 60 * ms,
		},
		{
			name:    "the A query is slow: IPv6 does not wait",
			lookups: []lookup{{8 * time.Second, addrs("192.0.2.1"), nil}, {3 * ms, addrs("2001:db8::1"), nil}},
			hosts:   map[string]func() (time.Duration, error){"2001:db8::1": connects(10 * ms)},
			winner:  "2001:db8::1", tried: []string{"2001:db8::1"}, at: 13 * ms,
		},
		{
			name:    "what comes late is tried as well",
			lookups: []lookup{{400 * ms, addrs("192.0.2.1"), nil}, {0, addrs("2001:db8::1"), nil}},
			hosts:   map[string]func() (time.Duration, error){"2001:db8::1": refused(0), "192.0.2.1": connects(0)},
			winner:  "192.0.2.1", tried: []string{"2001:db8::1", "192.0.2.1"}, at: 400 * ms,
		},
		{
			name:    "the families take turns",
			lookups: []lookup{{0, addrs("192.0.2.1", "192.0.2.2"), nil}, {0, addrs("2001:db8::1", "2001:db8::2"), nil}},
			hosts: map[string]func() (time.Duration, error){
				"2001:db8::1": refused(ms), // when both answers are known
				"2001:db8::2": refused(0), "192.0.2.1": refused(0), "192.0.2.2": connects(0),
			},
			winner: "192.0.2.2", tried: []string{"2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2"}, at: ms,
		},
		{
			name:    "all fail: the first error is told",
			lookups: []lookup{{0, addrs("192.0.2.1"), nil}, {0, nil, notFound}},
			hosts:   map[string]func() (time.Duration, error){"192.0.2.1": refused(0)},
			err:     syscall.ECONNREFUSED, tried: []string{"192.0.2.1"},
		},
		{
			name:    "no address: a server's failure tells more than a missing name",
			lookups: []lookup{{0, nil, notFound}, {time.Second, nil, silent}},
			err:     silent, at: time.Second,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answers := make(chan answer, len(test.lookups))
				var lookups sync.WaitGroup
				defer lookups.Wait()
				for _, l := range test.lookups {
					lookups.Go(func() {
						time.Sleep(l.after)
						answers <- answer{l.addrs, l.err}
					})
				}
				var mu sync.Mutex
				var tried []string
				var open atomic.Int32
				r := race{answers: answers, missing: len(test.lookups), dial: func(ctx context.Context, a netip.Addr) (net.Conn, error) {
					mu.Lock()
					tried = append(tried, a.String())
					mu.Unlock()
					after, err := test.hosts[a.String()]()
					select {
					case <-ctx.Done():
						return nil, ctx.Err()
					case <-time.After(after):
					}
					if err != nil {
						return nil, err
					}
					open.Add(1)
					return scriptedConn{a, &open}, nil
				}}
				begin := time.Now()
				c, err := r.run(t.Context())
				took := time.Since(begin)
				if test.err != nil {
					if !errors.Is(err, test.err) {
						t.Errorf("error %v, want %v", err, test.err)
					}
				} else if got := fmt.Sprint(c); got != test.winner || open.Load() != 1 {
					t.Errorf("connected to %v (%v), %d open, want %s alone", c, err, open.Load(), test.winner)
				}
				if !slices.Equal(tried, test.tried) || took != test.at {
					t.Errorf("tried %v in %v, want %v in %v", tried, took, test.tried, test.at)
				}
			})
		})
	}
}

// scriptedConn knows where it leads, and counts those that are open.
type scriptedConn struct {
	netip.Addr
	open *atomic.Int32
}

func (c scriptedConn) Close() error {
	c.open.Add(-1)
	return nil
}

func (scriptedConn) Read([]byte) (int, error)         { return 0, net.ErrClosed }
func (scriptedConn) Write([]byte) (int, error)        { return 0, net.ErrClosed }
func (scriptedConn) LocalAddr() net.Addr              { return nil }
func (scriptedConn) RemoteAddr() net.Addr             { return nil }
func (scriptedConn) SetDeadline(time.Time) error      { return nil }
func (scriptedConn) SetReadDeadline(time.Time) error  { return nil }
func (scriptedConn) SetWriteDeadline(time.Time) error { return nil }
