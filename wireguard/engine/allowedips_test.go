package engine

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// roster is an engine whose peers have one-letter names and no keys that cost
// anything.
type roster struct {
	t      testing.TB
	engine *Engine
}

func newRoster(t testing.TB) *roster { return &roster{t, New(Config{})} }

func named(name string) (k key.Public) {
	var b [32]byte
	copy(b[:], name)
	return key.PublicFrom(b)
}

func (r *roster) apply(c ...PeerChange) { r.engine.Apply(Time{}, Change{Peers: c}, new(Output)) }

// give gives prefixes to a peer.
func (r *roster) give(name string, prefixes ...string) {
	r.apply(PeerChange{PublicKey: named(name), AllowedIPs: parsePrefixes(prefixes)})
}

func parsePrefixes(texts []string) (prefixes []netip.Prefix) {
	for _, s := range texts {
		prefixes = append(prefixes, netip.MustParsePrefix(s))
	}
	return prefixes
}

// expect compares who has an address; "" is nobody.
func (r *roster) expect(addr, want string) {
	r.t.Helper()
	p := r.engine.Route(netip.MustParseAddr(addr))
	if want == "" {
		if p != nil {
			r.t.Errorf("%s has an owner, want none", addr)
		}
		return
	}
	if p == nil || p.Public() != named(want) {
		r.t.Errorf("%s is not %s's", addr, want)
	}
}

// list is what a peer has, as a snapshot shows it.
func (r *roster) list(name string) string {
	for _, p := range r.engine.Snapshot().Peers {
		if p.PublicKey == named(name) {
			return fmt.Sprint(p.AllowedIPs)
		}
	}
	return ""
}

// TestAllowedIPsTable is the table that the kernel's selftest, wireguard-go and
// BoringTun share.
func TestAllowedIPsTable(t *testing.T) {
	r := newRoster(t)
	for _, give := range []struct{ peer, prefix string }{
		{"a", "192.168.4.0/24"},
		{"b", "192.168.4.4/32"},
		{"c", "192.168.0.0/16"},
		{"d", "192.95.5.64/27"},
		{"c", "192.95.5.65/27"}, // replaces the one before
		{"d", "2607:5300:6000:6b00::c05f:543/128"},
		{"c", "2607:5300:6000:6b00::/64"},
		{"e", "0.0.0.0/0"},
		{"e", "::/0"},
		{"f", "::/0"}, // replaces the one before
		{"g", "2404:6800::/32"},
		{"h", "2404:6800:4004:800:dead:beef:dead:beef/64"},
		{"a", "2404:6800:4004:800:dead:beef:dead:beef/128"},
		{"c", "2444:6800:40e4:800:deae:beef:def:beef/128"},
		{"b", "2444:6800:f0e4:800:eeae:beef::/98"},
		{"g", "64.15.112.0/20"},
		{"h", "64.15.123.211/25"},
		{"a", "10.0.0.0/25"},
		{"b", "10.0.0.128/25"},
		{"a", "10.1.0.0/30"},
		{"b", "10.1.0.4/30"},
		{"c", "10.1.0.8/29"},
		{"d", "10.1.0.16/29"},
	} {
		r.give(give.peer, give.prefix)
	}
	for _, row := range []struct{ addr, want string }{
		{"192.168.4.20", "a"},
		{"192.168.4.0", "a"},
		{"192.168.4.4", "b"},
		{"192.168.200.182", "c"},
		{"192.95.5.68", "c"},
		{"192.95.5.96", "e"},
		{"2607:5300:6000:6b00::c05f:543", "d"},
		{"2607:5300:6000:6b00::c02e:1ee", "c"},
		{"2607:5300:6000:6b01::", "f"},
		{"2404:6800:4004:806::1006", "g"},
		{"2404:6800:4004:806:0:1234:0:5678", "g"},
		{"2404:67ff:4004:806:0:1234:0:5678", "f"},
		{"2404:6801:4004:806:0:1234:0:5678", "f"},
		{"2404:6800:4004:800:0:1234:0:5678", "h"},
		{"2404:6800:4004:800::", "h"},
		{"2404:6800:4004:800:1010:1010:1010:1010", "h"},
		{"2404:6800:4004:800:dead:beef:dead:beef", "a"},
		{"2444:6800:40e4:800:deae:beef:def:beef", "c"},
		{"2444:6800:f0e4:800:eeae:beef:1fff:ffff", "b"},
		{"2444:6800:f0e4:800:eeae:beef:4000:0", "f"},
		{"64.15.116.26", "g"},
		{"64.15.127.3", "g"},
		{"64.15.123.1", "g"},
		{"64.15.123.128", "h"},
		{"64.15.123.129", "h"},
		{"10.0.0.52", "a"},
		{"10.0.0.220", "b"},
		{"10.1.0.2", "a"},
		{"10.1.0.6", "b"},
		{"10.1.0.10", "c"},
		{"10.1.0.20", "d"},
	} {
		r.expect(row.addr, row.want)
	}
}

// TestAllowedIPsChanges: what a change gives, moves and takes.
func TestAllowedIPsChanges(t *testing.T) {
	r := newRoster(t)
	r.expect("10.0.0.1", "") // nobody has anything

	r.give("a", "10.0.0.77/8", "fd00::1/16", "10.0.0.77/8")
	if got := r.list("a"); got != "[10.0.0.0/8 fd00::/16]" {
		t.Errorf("host bits are masked, duplicates are one: %s", got)
	}
	r.give("b", "10.0.0.0/8")
	r.expect("10.1.2.3", "b") // it moved
	if got := r.list("a"); got != "[fd00::/16]" {
		t.Errorf("the former owner has %s", got)
	}
	r.give("b", "10.1.0.0/16")
	r.apply(PeerChange{PublicKey: named("b"), RemoveAllowedIPs: parsePrefixes([]string{"10.1.9.9/16"})})
	r.expect("10.1.2.3", "b") // by the shorter one
	if got := r.list("b"); got != "[10.0.0.0/8]" {
		t.Errorf("after a removal: %s", got)
	}
	r.apply(PeerChange{PublicKey: named("a"), RemoveAllowedIPs: parsePrefixes([]string{"10.0.0.0/8", "10.0.0.0/9"})})
	r.expect("10.1.2.3", "b") // not a's to take

	r.give("a", "0.0.0.0/0", "::/0")
	r.expect("203.0.113.1", "a")
	r.expect("2001:db8::1", "a")
	r.give("b", "0.0.0.0/0")
	r.expect("203.0.113.1", "b")
	r.expect("2001:db8::1", "a") // the families are apart

	r.apply(PeerChange{PublicKey: named("b"), ReplaceAllowedIPs: true, AllowedIPs: parsePrefixes([]string{"10.2.0.0/16"})})
	r.expect("10.2.0.1", "b")
	r.expect("10.1.2.3", "")
	r.expect("203.0.113.1", "")

	r.apply(PeerChange{PublicKey: named("b"), ReplaceAllowedIPs: true})
	r.expect("10.2.0.1", "")
	r.give("b", "10.0.0.0/8")
	r.apply(PeerChange{PublicKey: named("b"), Remove: true})
	r.expect("10.2.0.1", "") // a peer takes its prefixes with it
	r.give("c", "10.0.0.0/8")
	r.expect("10.2.0.1", "c")
	r.engine.Apply(Time{}, Change{ReplacePeers: true, Peers: []PeerChange{{PublicKey: named("c")}}}, new(Output))
	r.expect("10.2.0.1", "c")
	r.expect("2001:db8::1", "") // a was not named
	r.apply(PeerChange{PublicKey: named("c"), AllowedIPs: []netip.Prefix{{}}})
	if got := r.list("c"); got != "[10.0.0.0/8]" {
		t.Errorf("a prefix that is none was taken: %s", got)
	}
}

// TestAllowedIPsMapped: an IPv6 prefix of IPv4-mapped addresses is one of IPv6.
func TestAllowedIPsMapped(t *testing.T) {
	r := newRoster(t)
	r.give("a", "::ffff:1.2.3.4/96")
	r.expect("::ffff:1.2.3.4", "a")
	r.expect("::ffff:9.9.9.9", "a")
	r.expect("1.2.3.4", "")
	r.give("b", "1.2.3.0/24")
	r.expect("::ffff:1.2.3.4", "a")
	r.expect("1.2.3.4", "b")
	r.give("c", "::ffff:1.2.3.4/128")
	r.expect("::ffff:1.2.3.4", "c")
	r.expect("1.2.3.4", "b")
}

// TestAllowedIPsDepth: every prefix length of one address, each another
// peer's, up to the 33 and 129 levels that there can be.
func TestAllowedIPsDepth(t *testing.T) {
	for _, text := range []string{"255.255.255.255", "2001:db8:5555:aaaa:ffff:ffff:0:1"} {
		addr := netip.MustParseAddr(text)
		r := newRoster(t)
		for bits := range addr.BitLen() + 1 {
			r.give(fmt.Sprint(bits), fmt.Sprintf("%s/%d", text, bits))
		}
		for bits := addr.BitLen(); bits > 0; bits-- {
			r.expect(text, fmt.Sprint(bits))
			r.apply(PeerChange{PublicKey: named(fmt.Sprint(bits)), Remove: true})
		}
		r.expect(text, "0")
	}
}

// TestAllowedIPsMany: 65,536 prefixes in one change.
func TestAllowedIPsMany(t *testing.T) {
	r := newRoster(t)
	var many []netip.Prefix
	for i := range 1 << 16 {
		many = append(many, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 77}), 32))
	}
	r.apply(PeerChange{PublicKey: named("a"), AllowedIPs: many})
	for _, p := range many {
		if owner := r.engine.Route(p.Addr()); owner == nil {
			t.Fatalf("%v has no owner", p)
		}
	}
	r.expect("10.0.0.78", "")
	if n := len(r.engine.Snapshot().Peers[0].AllowedIPs); n != 1<<16 {
		t.Errorf("the snapshot shows %d", n)
	}
	r.apply(PeerChange{PublicKey: named("b"), AllowedIPs: many})
	r.expect("10.200.200.77", "b")
	r.apply(PeerChange{PublicKey: named("b"), Remove: true})
	if r.engine.routes.Load().Size() != 0 {
		t.Error("prefixes are left")
	}
}

// TestAllowedIPsAgainstNaiveList makes random changes and compares every
// answer with that of a plain list.
func TestAllowedIPsAgainstNaiveList(t *testing.T) {
	for seed := range uint64(5) {
		random := rand.New(rand.NewPCG(seed, 3))
		r := newRoster(t)
		naive := map[netip.Prefix]string{}
		for step := range 400 {
			name := fmt.Sprint(random.IntN(50))
			c := PeerChange{PublicKey: named(name)}
			switch random.IntN(10) {
			case 0:
				c.Remove = true
			case 1:
				c.ReplaceAllowedIPs = true
			case 2:
				for _, p := range sortedPrefixes(naive) {
					if random.IntN(5) == 0 {
						c.RemoveAllowedIPs = append(c.RemoveAllowedIPs, p)
					}
				}
			}
			if c.Remove || c.ReplaceAllowedIPs {
				maps.DeleteFunc(naive, func(_ netip.Prefix, owner string) bool { return owner == name })
			}
			for _, p := range c.RemoveAllowedIPs {
				if naive[p] == name {
					delete(naive, p)
				}
			}
			if !c.Remove {
				for range random.IntN(10) {
					p := randomPrefix(random)
					c.AllowedIPs = append(c.AllowedIPs, p)
					naive[p.Masked()] = name
				}
			}
			r.apply(c)
			for range 50 {
				addr := randomPrefix(random).Addr()
				want := naiveLookup(naive, addr)
				got := r.engine.Route(addr)
				if (got == nil) != (want == "") || got != nil && got.Public() != named(want) {
					t.Fatalf("seed %d, step %d: %v is not %q's", seed, step, addr, want)
				}
			}
		}
		if got := r.engine.routes.Load().Size(); got != len(naive) {
			t.Errorf("seed %d: %d prefixes, want %d", seed, got, len(naive))
		}
	}
}

// randomPrefix is one of a small space, so that prefixes meet.
func randomPrefix(r *rand.Rand) netip.Prefix {
	if r.IntN(2) == 0 {
		a := netip.AddrFrom4([4]byte{10, byte(r.IntN(4)), byte(r.IntN(256)), byte(r.IntN(256))})
		return netip.PrefixFrom(a, r.IntN(33))
	}
	b := [16]byte{0: 0xfd, 1: byte(r.IntN(2)), 7: byte(r.IntN(256)), 15: byte(r.IntN(256))}
	if r.IntN(4) == 0 {
		b = [16]byte{10: 0xff, 11: 0xff, 12: 10, 13: byte(r.IntN(4)), 15: byte(r.IntN(256))} // mapped
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), r.IntN(129))
}

func sortedPrefixes(m map[netip.Prefix]string) []netip.Prefix {
	return slices.SortedFunc(maps.Keys(m), netip.Prefix.Compare)
}

// naiveLookup looks at every prefix.
func naiveLookup(list map[netip.Prefix]string, addr netip.Addr) (owner string) {
	best := -1
	for p, name := range list {
		if p.Contains(addr) && p.Bits() > best {
			best, owner = p.Bits(), name
		}
	}
	return owner
}
