package wireguard

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
)

// TestSocketRenewal: a NAT forgot us and drops what comes from our port. After
// 30 s of silence another one is tried, and then one a minute.
func TestSocketRenewal(t *testing.T) {
	for _, fixed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := newMemNet()
			sides := pairOf(t, n, &testClock{start: time.Now()}, func(i int, c *Config) {
				if i == 0 && !fixed {
					c.ListenPort = 0
				}
			})
			run(t, sides[:]...)
			a, b := sides[0], sides[1]
			synctest.Wait()
			a.send(t, b, 1, 84)
			synctest.Wait()
			first := a.ListenPort()

			time.Sleep(time.Hour) // silence alone is no reason
			if a.ListenPort() != first {
				t.Fatal("an idle tunnel got a new port")
			}
			ports := map[uint16]time.Time{}
			n.setTap(func(from, _ netip.AddrPort, b []byte) [][]byte {
				n.mu.Lock()
				defer n.mu.Unlock()
				if _, seen := ports[from.Port()]; !seen && from.Addr() == a.outer.Addr() {
					ports[from.Port()] = time.Now()
				}
				if len(ports) < 3 {
					return nil
				}
				return [][]byte{b}
			})
			start := time.Now()
			for b.received() == 1 && time.Since(start) < 5*time.Minute {
				a.send(t, b, 1, 84)
				time.Sleep(time.Second)
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			if fixed {
				if len(ports) != 1 {
					t.Errorf("a configured port was left: %v", ports)
				}
				return
			}
			if b.received() == 1 {
				t.Fatalf("no packet arrived in 5 minutes, ports %v", ports)
			}
			took := time.Since(start)
			if took < renewAfter+renewEvery || took > renewAfter+renewEvery+3*engine.RekeyTimeout {
				t.Errorf("the third port came after %v, want 30 s for the second and a minute for the third", took)
			}
		})
	}
}

// TestRefusedAddressIsSkipped: the host can't send to the first two addresses
// of the name, so the first initiation goes to the third.
func TestRefusedAddressIsSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names nameServer
		sides := namedPair(t, newMemNet(), &names, 0)
		a, b := sides[0], sides[1]
		names.set(netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), b.outer.Addr())
		run(t, sides[:]...)
		synctest.Wait()
		a.send(t, b, 1, 84)
		synctest.Wait()
		if b.received() != 1 {
			t.Errorf("the packet did not arrive at once; dropped %v", a.Drops())
		}
	})
}
