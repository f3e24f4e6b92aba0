package forward

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"
)

// Rule allows targets by address and port.
type Rule struct {
	// Network are the addresses. An IPv4 network holds no IPv4-mapped ones.
	Network netip.Prefix

	// FirstPort to LastPort are allowed, both included.
	FirstPort, LastPort uint16
}

// covers reports whether the rule allows a target.
func (r Rule) covers(target netip.AddrPort) bool {
	return r.Network.Contains(target.Addr()) && r.FirstPort <= target.Port() && target.Port() <= r.LastPort
}

// special are networks that no wider rule opens, since a rule that is meant for a network of the host would give away
// the host itself, or the keys of the machine that it runs on.
var special = []struct {
	network netip.Prefix
	what    string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this host"}, // RFC 1122, section 3.2.1.3; Linux connects 0.0.0.0 to itself
	{netip.MustParsePrefix("127.0.0.0/8"), "a loopback address"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"}, // where clouds serve credentials, at 169.254.169.254
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("255.255.255.255/32"), "the broadcast address"},
	{netip.MustParsePrefix("100.100.100.200/32"), "a metadata service"}, // Alibaba Cloud
	{netip.MustParsePrefix("168.63.129.16/32"), "a metadata service"},   // Azure
	{netip.MustParsePrefix("fd00:ec2::254/128"), "a metadata service"},  // Amazon EC2
	{netip.MustParsePrefix("::/96"), "this host"},                       // ::, ::1 and the IPv4-compatible addresses
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
	// Behind these is an IPv4 address, which a rule for IPv6 did not look at.
	{netip.MustParsePrefix("64:ff9b::/96"), "a translated IPv4 address"},    // RFC 6052
	{netip.MustParsePrefix("64:ff9b:1::/48"), "a translated IPv4 address"},  // RFC 8215
	{netip.MustParsePrefix("2002::/16"), "a tunnel to an IPv4 address"},     // RFC 3056
	{netip.MustParsePrefix("2001::/32"), "a tunnel to an IPv4 address"},     // RFC 4380
	{netip.MustParsePrefix("::ffff:0:0:0/96"), "a translated IPv4 address"}, // RFC 2765
}

// policy is what a gateway's peers may reach.
type policy struct {
	allow     []Rule
	protected []netip.AddrPort
}

// check returns why a target is not allowed, around EACCES, or nil.
func (p policy) check(target netip.AddrPort) error {
	covers := func(r Rule) bool { return r.covers(target) }
	return p.verdict(target.Addr(), covers, func(protected netip.AddrPort) bool {
		return (protected.Addr() == target.Addr() || protected.Addr().IsUnspecified()) &&
			(protected.Port() == target.Port() || protected.Port() == 0)
	})
}

// checkAddr is check for what has no port: a rule for any port allows it.
func (p policy) checkAddr(target netip.Addr) error {
	covers := func(r Rule) bool { return r.Network.Contains(target) }
	return p.verdict(target, covers, func(protected netip.AddrPort) bool { return protected.Addr() == target })
}

func (p policy) verdict(target netip.Addr, covers func(Rule) bool, protects func(netip.AddrPort) bool) error {
	exact := func(r Rule) bool { return r.Network.IsSingleIP() && covers(r) }
	switch {
	case !slices.ContainsFunc(p.allow, covers):
		return denied(target, "no rule allows it")
	case slices.ContainsFunc(p.allow, exact):
		return nil
	case target.Is4In6():
		return denied(target, "it is an IPv4 address in disguise, and no rule names it")
	case slices.ContainsFunc(p.protected, protects):
		return denied(target, "it is protected, and no rule names it")
	}
	for _, s := range special {
		if s.network.Contains(target) {
			return denied(target, "it is "+s.what+", and no rule names it")
		}
	}
	return nil
}

func denied(target netip.Addr, why string) error {
	return fmt.Errorf("forward: %v is not allowed: %s: %w", target, why, syscall.EACCES)
}
