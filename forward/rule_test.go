package forward

import (
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"
)

// rule makes a Rule of a network, for all ports unless some are given.
func rule(network string, ports ...uint16) Rule {
	r := Rule{Network: netip.MustParsePrefix(network), FirstPort: 1, LastPort: 65535}
	if len(ports) > 0 {
		r.FirstPort, r.LastPort = ports[0], ports[len(ports)-1]
	}
	return r
}

// everything are the widest rules that there can be.
var everything = []Rule{rule("0.0.0.0/0"), rule("::/0")}

func TestRules(t *testing.T) {
	for _, c := range []struct {
		name    string
		allow   []Rule
		target  string
		allowed bool
	}{
		{"nothing is allowed", nil, "192.168.1.5:80", false},
		{"in the network", []Rule{rule("192.168.0.0/16")}, "192.168.1.5:80", true},
		{"beside the network", []Rule{rule("192.168.0.0/16")}, "192.169.1.5:80", false},
		{"the port", []Rule{rule("192.168.0.0/16", 80)}, "192.168.1.5:80", true},
		{"another port", []Rule{rule("192.168.0.0/16", 80)}, "192.168.1.5:81", false},
		{"the first port", []Rule{rule("192.168.0.0/16", 80, 90)}, "192.168.1.5:80", true},
		{"the last port", []Rule{rule("192.168.0.0/16", 80, 90)}, "192.168.1.5:90", true},
		{"behind the last port", []Rule{rule("192.168.0.0/16", 80, 90)}, "192.168.1.5:91", false},
		{"no port", []Rule{rule("192.168.0.0/16")}, "192.168.1.5:0", false},
		{"by the second rule", []Rule{rule("10.0.0.0/8"), rule("192.168.0.0/16")}, "192.168.1.5:80", true},
		{"IPv6", []Rule{rule("fd00::/8")}, "[fd00::5]:80", true},
		{"IPv6 by a rule for IPv4", []Rule{rule("0.0.0.0/0")}, "[fd00::5]:80", false},
		{"IPv4 by a rule for IPv6", []Rule{rule("::/0")}, "192.168.1.5:80", false},
		{"IPv4-mapped by a rule for IPv4", []Rule{rule("192.168.0.0/16")}, "[::ffff:192.168.1.5]:80", false},
		{"IPv4-mapped by a rule for IPv6", everything, "[::ffff:192.168.1.5]:80", false},
		{"the Internet", everything, "8.8.8.8:53", true},
		{"the Internet, IPv6", everything, "[2606:4700::1111]:53", true},
		{"one loopback address", []Rule{rule("127.0.0.1/32", 8080)}, "127.0.0.1:8080", true},
		{"its other ports", []Rule{rule("127.0.0.1/32", 8080)}, "127.0.0.1:8081", false},
		{"its other ports, by a wider rule", []Rule{rule("127.0.0.1/32", 8080), rule("0.0.0.0/0")}, "127.0.0.1:8081", false},
		{"the next address", []Rule{rule("127.0.0.1/32"), rule("127.0.0.0/8")}, "127.0.0.2:8080", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := policy{allow: c.allow}.check(netip.MustParseAddrPort(c.target))
			if c.allowed != (err == nil) {
				t.Errorf("%s: %v; allowed should be %v", c.target, err, c.allowed)
			}
			if err != nil && !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%s: %v; want a permission error", c.target, err)
			}
		})
	}
}

// guarded are addresses that only a rule for one address opens.
var guarded = []string{
	// N9
	"127.0.0.1", "127.1.2.3", "::1", "169.254.169.254", "169.254.0.1", "fe80::1", "febf::1", "0.0.0.0", "0.1.2.3", "::",
	"::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "::ffff:192.168.1.1",
	"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2002:7f00:1::1", "2001::1",
	"224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::1", "ff0e::1", "::127.0.0.1", "::ffff:0:127.0.0.1",
	// A7
	"fd00:ec2::254", "100.100.100.200", "168.63.129.16",
}

// TestN9 is about the host itself and what is next to it, TestA7 about the
// services of clouds: a rule for everything does not open these.
func TestN9(t *testing.T) { testGuarded(t, "") }
func TestA7(t *testing.T) { testGuarded(t, "metadata") }

func testGuarded(t *testing.T, what string) {
	seen := 0
	for _, addr := range guarded {
		a := netip.MustParseAddr(addr)
		for _, port := range []uint16{1, 80, 65535} {
			target := netip.AddrPortFrom(a, port)
			err := policy{allow: everything}.check(target)
			if err == nil {
				t.Errorf("%v is allowed by a rule for everything", target)
			} else if strings.Contains(err.Error(), what) {
				seen++
			}
			exact := append([]Rule{{netip.PrefixFrom(a, a.BitLen()), port, port}}, everything...)
			if err := (policy{allow: exact}).check(target); err != nil {
				t.Errorf("%v, written out: %v", target, err)
			}
		}
		if (policy{allow: everything}).checkAddr(a) == nil {
			t.Errorf("an echo request to %v is allowed by a rule for everything", a)
		}
	}
	if seen == 0 {
		t.Errorf("no error says %q", what)
	}
}

func TestProtected(t *testing.T) {
	p := policy{allow: everything, protected: []netip.AddrPort{
		netip.MustParseAddrPort("192.168.1.5:9080"), // a listener
		netip.MustParseAddrPort("0.0.0.0:1080"),     // one on all addresses
		netip.MustParseAddrPort("[::]:51820"),
		netip.MustParseAddrPort("10.96.0.1:0"), // the API of a cluster
	}}
	for target, allowed := range map[string]bool{
		"192.168.1.5:9080":  false,
		"192.168.1.5:9081":  true,
		"192.168.1.6:9080":  true,
		"192.168.1.6:1080":  false,
		"[fd00::1]:1080":    false,
		"192.168.1.6:51820": false,
		"10.96.0.1:443":     false,
		"10.96.0.1:6443":    false,
		"10.96.0.2:443":     true,
	} {
		a := netip.MustParseAddrPort(target)
		if err := p.check(a); allowed != (err == nil) {
			t.Errorf("%s: %v; allowed should be %v", target, err, allowed)
		}
		exact := p
		exact.allow = append([]Rule{{netip.PrefixFrom(a.Addr(), a.Addr().BitLen()), a.Port(), a.Port()}}, everything...)
		if err := exact.check(a); err != nil {
			t.Errorf("%s, written out: %v", target, err)
		}
	}
	if p.checkAddr(netip.MustParseAddr("10.96.0.1")) == nil {
		t.Error("an echo request to a protected address is allowed")
	}
	if err := p.checkAddr(netip.MustParseAddr("10.96.0.2")); err != nil {
		t.Errorf("an echo request to another address: %v", err)
	}
}
