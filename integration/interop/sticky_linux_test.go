package interop

import (
	"net/netip"
	"syscall"
	"testing"
)

// TestNetns16Sticky: we answer from the address that we were spoken to at, and
// from another one when the host has lost that. It needs a network whose
// addresses it can take away, and so starts itself in a namespace, for which
// it takes no privilege.
func TestNetns16Sticky(t *testing.T) {
	t.Parallel()
	if enterNamespace(t, syscall.CLONE_NEWNET) {
		eachImplementation(t, testSticky)
	}
}

// The host's addresses: where the far end is, and two of ours.
var (
	farOutside = netip.MustParseAddr("192.0.2.9")
	outside    = [...]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
)

func testSticky(t *testing.T, far implementation) {
	ip(t, "link", "set", "lo", "up")
	for _, a := range append(outside[:], farOutside) {
		ip(t, "address", "replace", a.String()+"/32", "dev", "lo")
	}
	// The far end is behind a relay, so that it has an address of its own.
	var r *relay
	c := unite(t, far, wimble, union{through: func(to netip.AddrPort) netip.AddrPort {
		r = newRelay(t, to, path{}, path{}, 1)
		return r.addr()
	}})
	answers := map[netip.Addr]int{}
	r.observe(func(a arrival) bool {
		if !a.toTarget {
			answers[a.from.Addr()]++
		}
		return true
	})
	for _, at := range outside {
		r.move(farOutside, netip.AddrPortFrom(at, c.to.port(t)))
		ping(t, c.from, toInside[0].Addr())
	}
	r.observe(nil)
	if len(answers) != 2 || answers[outside[0]] == 0 || answers[outside[1]] == 0 {
		t.Errorf("spoken to at %v, we answered from %v", outside, answers)
	}
	service, err := c.from.ListenPacket(t.Context(), "udp", at(fromInside[0], 7))
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	conn, err := c.to.DialContext(t.Context(), "udp", at(fromInside[0], 7))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ip(t, "address", "delete", outside[1].String()+"/32", "dev", "lo")
	say(t, conn, "from another address")
	hear(t, service, "from another address")
}
