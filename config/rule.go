package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

const maxPort = 65535

// Rule allows targets by address and port.
type Rule struct {
	// Network has no bit set behind its length.
	Network netip.Prefix

	// FirstPort to LastPort are allowed, both included: 1 to 65535 for all.
	FirstPort, LastPort uint16
}

// String is the form of the file: "192.168.0.0/16:*", "[fd00::/8]:8000-8100".
func (r Rule) String() string {
	network := r.Network.String()
	if r.Network.Addr().Is6() {
		network = "[" + network + "]"
	}
	return network + ":" + r.ports()
}

func (r Rule) ports() string {
	switch {
	case r.FirstPort == 1 && r.LastPort == maxPort:
		return "*"
	case r.FirstPort == r.LastPort:
		return strconv.Itoa(int(r.FirstPort))
	}
	return fmt.Sprintf("%d-%d", r.FirstPort, r.LastPort)
}

// parseRule reads network:ports.
func parseRule(s string) (Rule, error) {
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 || strings.HasSuffix(s, "]") || isAddr6(s) {
		return Rule{}, badRule(s, "has no ports")
	}
	text, ports := s[:colon], s[colon+1:]
	inner, brackets := strings.CutPrefix(text, "[")
	if brackets {
		inner, brackets = strings.CutSuffix(inner, "]")
	}
	if strings.Contains(text, ":") != brackets {
		return Rule{}, badRule(s, "needs brackets around an IPv6 network, and only there")
	}
	network, err := parseNetwork(inner)
	if err != nil {
		return Rule{}, err
	}
	first, last, ok := parsePorts(ports)
	if !ok {
		return Rule{}, badRule(s, "has no ports from 1 to 65535 at its end")
	}
	return Rule{Network: network, FirstPort: first, LastPort: last}, nil
}

func badRule(s, what string) error {
	return &Error{
		Cause:  fmt.Errorf("%s %s", quote(s), what),
		Remedy: "write it like 192.168.0.0/16:*, 10.0.0.5:443 or [fd00::/8]:8000-8100",
	}
}

// parsePorts reads "*", a port, or the first and the last of several.
func parsePorts(s string) (first, last uint16, ok bool) {
	if s == "*" {
		return 1, maxPort, true
	}
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		to = from
	}
	low, errLow := strconv.ParseUint(from, 10, 16)
	high, errHigh := strconv.ParseUint(to, 10, 16)
	ok = errLow == nil && errHigh == nil && 1 <= low && low <= high
	return uint16(low), uint16(high), ok
}
