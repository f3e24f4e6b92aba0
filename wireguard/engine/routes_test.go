package engine

import (
	"net/netip"
	"testing"
)

// TestRouteEdit: however many prefixes a change has, who routes meanwhile goes
// by the table as it was, and the next table has them all.
func TestRouteEdit(t *testing.T) {
	for _, changes := range []int{1, fewChanges, fewChanges + 1, 5000} {
		r := newRoster(t)
		r.apply(PeerChange{PublicKey: named("a"), AllowedIPs: thousands(5000)})
		before := r.engine.routes.Load()
		r.apply(PeerChange{PublicKey: named("b"), AllowedIPs: thousands(changes)})
		for i, prefix := range thousands(5000) {
			want := named("a")
			if i < changes {
				want = named("b")
			}
			if p, _ := before.Lookup(prefix.Addr()); p == nil || p.public != named("a") {
				t.Fatalf("%d changes: the old table routes %v to another peer", changes, prefix)
			}
			if p := r.engine.Route(prefix.Addr()); p == nil || p.public != want {
				t.Fatalf("%d changes: %v is routed to another peer", changes, prefix)
			}
		}
		r.apply(PeerChange{PublicKey: named("b"), Remove: true})
		if n := r.engine.routes.Load().Size(); n != 5000-changes {
			t.Errorf("%d prefixes are left, want %d", n, 5000-changes)
		}
	}
}

// TestManyRoutesCost: a long list that replaces another costs little more than
// to copy the one and to store the other.
func TestManyRoutesCost(t *testing.T) {
	const prefixes = 10_000
	list := thousands(prefixes)
	r := newRoster(t)
	allocations := testing.AllocsPerRun(3, func() {
		r.apply(PeerChange{PublicKey: named("a"), AllowedIPs: list, ReplaceAllowedIPs: true})
	})
	if allocations > 3*prefixes {
		t.Errorf("%d prefixes cost %.0f allocations", prefixes, allocations)
	}
}

// thousands are n prefixes of one address each.
func thousands(n int) (list []netip.Prefix) {
	for i := range n {
		list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 77}), 32))
	}
	return list
}
