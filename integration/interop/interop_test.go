package interop

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// amount is how much TCP a tunnel carries each way.
const amount = 10 << 20

// sizes are those of the datagrams that it carries. The last one is larger than
// a packet.
var sizes = []int{1, 15, 16, 17, 500, 1371, 1372, 4000}

// TestTunnel: both roles, with and without a preshared key, both families
// outside and inside; ping and UDP both ways and 10 MiB of TCP each way.
func TestTunnel(t *testing.T) {
	t.Parallel()
	for _, weInitiate := range []bool{true, false} {
		for _, preshared := range []bool{false, true} {
			for _, outer := range []netip.Addr{loopback4, loopback6} {
				s := setup{weInitiate: weInitiate, preshared: preshared, outer: outer}
				t.Run(fmt.Sprintf("initiate=%t,psk=%t,outer=%v", weInitiate, preshared, outer), func(t *testing.T) {
					t.Parallel()
					testTunnel(t, s)
				})
			}
		}
	}
}

func testTunnel(t *testing.T, s setup) {
	tun := openTunnel(t, s)
	for i := range tun.fromInside {
		from, to := tun.fromInside[i], tun.toInside[i]
		t.Run(fmt.Sprintf("inside=%v", to.Addr()), func(t *testing.T) {
			ping(t, tun.from, to.Addr())
			ping(t, tun.to, from.Addr())
			echoDatagrams(t, tun.from, tun.to, at(to, 7), sizes)
			echoDatagrams(t, tun.to, tun.from, at(from, 7), sizes)
			exchange(t, tun.from, tun.to, at(to, 9), amount)
		})
	}
	if drops := tun.ours.Device().Drops(); len(drops) > 0 {
		t.Errorf("our Device dropped %v on a path that loses nothing", drops)
	}
}

// TestCounters sends ten packets of 84 bytes and has them answered, which is
// what the kernel's own test does: each makes a datagram of 128 bytes, the
// initiation is 148 and the response 92. Both ends count alike.
func TestCounters(t *testing.T) {
	t.Parallel()
	for _, weInitiate := range []bool{true, false} {
		t.Run(fmt.Sprintf("initiate=%t", weInitiate), func(t *testing.T) {
			t.Parallel()
			tun := openTunnel(t, setup{weInitiate: weInitiate, outer: loopback4})
			const payload = 84 - 20 - 8 // less the headers of IPv4 and UDP
			echoDatagrams(t, tun.from, tun.to, at(tun.toInside[0], 7), slices.Repeat([]int{payload}, 10))
			const sent, received, keepalive = 148 + 10*128, 92 + 10*128, 32
			// The far end counts its last answer after it was sent, and so
			// maybe after it was received here.
			var counted [4]uint64
			ok := eventually(func() bool {
				counted[0], counted[1] = tun.counters(t, tun.from)
				counted[3], counted[2] = tun.counters(t, tun.to)
				return counted == [4]uint64{sent, received, sent, received} ||
					counted == [4]uint64{sent + keepalive, received, sent + keepalive, received}
			})
			if !ok {
				t.Errorf("the initiator counts %d sent and %d received, the responder %d and %d; want %d and %d, and %d more for a keepalive",
					counted[0], counted[1], counted[2], counted[3], sent, received, keepalive)
			}
		})
	}
}

// eventually polls until f is true, and reports false when it has not become so.
func eventually(f func() bool) bool {
	for end := time.Now().Add(patience / 10); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if f() {
			return true
		}
	}
	return f()
}
