package kernel

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// testHandshake: a session comes about whoever calls and with or without a
// preshared key; it carries IPv4 and IPv6 both ways; and both ends count the
// same bytes, handshakes and keepalives included.
func testHandshake(t *testing.T, l *lab) {
	for _, caller := range []caller{ours, kernels} {
		for _, preshared := range []bool{false, true} {
			t.Run(fmt.Sprintf("call is %s, preshared key %t", caller, preshared), func(t *testing.T) {
				t.Parallel()
				tn := l.tunnel(t, options{caller: caller, preshared: preshared, keepalive: 2 * time.Second})
				first := eventually(t, func() (Dump, error) {
					d := tn.dump(t)
					if d.LatestHandshake.IsZero() {
						return d, fmt.Errorf("no handshake: %+v", d)
					}
					return d, nil
				})
				if tn.snapshot().HasPreshared != preshared {
					t.Errorf("our snapshot does not say %t about the preshared key", preshared)
				}
				here := netip.AddrPortFrom(netip.MustParseAddr(hostAddress), tn.device.ListenPort())
				if first.Endpoint != here {
					t.Errorf("the kernel sees us at %v, want %v", first.Endpoint, here)
				}
				if at := tn.snapshot().Endpoint; at != tn.peer.Endpoint() {
					t.Errorf("we see the kernel at %v, want %v", at, tn.peer.Endpoint())
				}
				for i := range tn.far {
					tn.ping(t, tn.far[i])
					tn.pinged(t, tn.near[i], 1)
				}
				d := tn.agree(t)
				if d.LatestHandshake != first.LatestHandshake {
					t.Error("there was another handshake")
				}
				t.Logf("the kernel says: %+v", d)
			})
		}
	}
}
