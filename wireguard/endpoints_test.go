package wireguard

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
)

// nameServer is a scripted Config.Resolve.
type nameServer struct {
	mu    sync.Mutex
	addrs []netip.Addr // none: the name does not resolve
	asked []time.Time
}

func (s *nameServer) resolve(context.Context, string) ([]netip.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, time.Now())
	if len(s.addrs) == 0 {
		return nil, errors.New("no such host")
	}
	return s.addrs, nil
}

func (s *nameServer) set(addrs ...netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addrs = addrs
}

func (s *nameServer) queries() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// namedPair is a pair of which the first knows the second by name only.
func namedPair(t *testing.T, n *memNet, s *nameServer, keepalive time.Duration) [2]*side {
	return pairOf(t, n, &testClock{start: time.Now()}, func(i int, c *Config) {
		if i == 0 {
			c.Resolve = s.resolve
			c.Peers[0].Endpoint, c.Peers[0].EndpointName = nil, "vpn.example:51820"
			c.Peers[0].Keepalive = &keepalive
		} else {
			c.Peers[0].Endpoint = nil
		}
	})
}

// TestEndpointNameLater: the name does not resolve at the start; the device
// runs, refuses at once, asks again, and connects when it does.
func TestEndpointNameLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names nameServer
		sides := namedPair(t, newMemNet(), &names, 0)
		run(t, sides[:]...)
		a, b := sides[0], sides[1]
		synctest.Wait()
		if _, err := a.Route(b.inner); !errors.Is(err, ErrNoEndpoint) {
			t.Fatalf("Route: %v, want ErrNoEndpoint", err)
		}
		time.Sleep(20 * time.Second)
		asked := names.queries()
		for i, want := range []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second} {
			if i >= len(asked) || asked[i].Sub(asked[0]) != want {
				t.Fatalf("asked at %v, query %d is due after %v", asked, i, want)
			}
		}
		names.set(b.outer.Addr())
		time.Sleep(16 * time.Second)
		a.send(t, b, 1, 84)
		synctest.Wait()
		if b.received() != 1 {
			t.Error("the packet did not arrive")
		}
		n := len(names.queries())
		time.Sleep(10 * time.Minute)
		if more := len(names.queries()) - n; more != 0 {
			t.Errorf("asked %d times more although the address answers", more)
		}
	})
}

// TestEndpointNameMoves: the peer's address changes while nobody looks.
func TestEndpointNameMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names nameServer
		n := newMemNet()
		sides := namedPair(t, n, &names, 0)
		a, b := sides[0], sides[1]
		gone := netip.MustParseAddr("192.0.2.66")
		names.set(gone)
		run(t, sides[:]...)
		synctest.Wait()
		start := time.Now()
		a.send(t, b, 1, 84)
		time.Sleep(11 * time.Second) // three initiations went unanswered
		names.set(gone, b.outer.Addr())
		for b.received() == 0 && time.Since(start) < time.Minute {
			time.Sleep(100 * time.Millisecond)
		}
		took := time.Since(start)
		t.Logf("found after %v and %d lookups", took, len(names.queries()))
		if took > 25*time.Second {
			t.Errorf("took %v; the address is doubted from the third unanswered initiation on", took)
		}
		if to, _ := a.engine.Peer(b.private.Public()).Endpoint(); to.Addr != b.outer {
			t.Errorf("endpoint %v", to.Addr)
		}
	})
}

// TestEndpointNamePauses: while nothing answers, lookups are 10 s apart,
// doubling to 60 s, and the addresses are tried in turn.
func TestEndpointNamePauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names nameServer
		n := newMemNet()
		sides := namedPair(t, n, &names, 25*time.Second)
		names.set(netip.MustParseAddr("192.0.2.66"), netip.MustParseAddr("192.0.2.67"), netip.MustParseAddr("192.0.2.68"))
		tried := map[netip.Addr]int{}
		n.setTap(func(_, to netip.AddrPort, _ []byte) [][]byte {
			n.mu.Lock()
			defer n.mu.Unlock()
			tried[to.Addr()]++
			return nil
		})
		run(t, sides[0])
		time.Sleep(5 * time.Minute)
		asked := names.queries()
		want := lookupPause
		for i := 1; i < len(asked); i++ {
			if gap := asked[i].Sub(asked[i-1]); gap < want || gap > want+2*(engine.RekeyTimeout+time.Second) {
				t.Errorf("lookup %d came after %v, want %v and at most two initiations more", i, gap, want)
			}
			want = min(2*want, maxLookupPause)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if len(tried) != 3 {
			t.Errorf("tried %v, want all three addresses", tried)
		}
	})
}
