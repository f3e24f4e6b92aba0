package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

const (
	// minMTU is what every IPv4 host must be able to take (RFC 791, section
	// 3.1), minMTU6 what every IPv6 link must carry (RFC 8200, section 5).
	minMTU  = 576
	minMTU6 = 1280

	// maxMTU is what fits into one UDP datagram over IPv4: 65,535 bytes less
	// 20 for IPv4, 8 for UDP and 32 for WireGuard (whitepaper, section 5.4.6).
	maxMTU = 65535 - 20 - 8 - 32
)

// The functions below read one value each and serve every format. Their errors
// are of type *Error and lack the place.

// parsePrivateKey reads a private key; its error tells no part of s.
func parsePrivateKey(s string) (key.Private, error) {
	k, err := key.ParsePrivate(s)
	if err != nil {
		return key.Private{}, badKey(err)
	}
	return k, nil
}

// parsePublicKey reads a public key; its error tells no part of s, in which
// somebody may have pasted the private one.
func parsePublicKey(s string) (key.Public, error) {
	k, err := key.ParsePublic(s)
	if err == nil && k.IsZero() {
		err = errors.New("this public key is all zero")
	}
	if err != nil {
		return key.Public{}, badKey(err)
	}
	return k, nil
}

// parsePresharedKey reads a preshared key; its error tells no part of s.
func parsePresharedKey(s string) (key.Preshared, error) {
	k, err := key.ParsePreshared(s)
	if err != nil {
		return key.Preshared{}, badKey(err)
	}
	if k.IsZero() {
		return key.Preshared{}, &Error{
			Cause:  errors.New("this preshared key is all zero, which is none"),
			Remedy: "remove the line if the peer has none either",
		}
	}
	return k, nil
}

func badKey(err error) error {
	return &Error{Cause: err, Remedy: "copy the key again from where it was made, whole and without spaces (it is not repeated here)"}
}

// parsePrefix reads an address with or without a prefix length, which is the
// full one when it is left out. Bits behind the length are kept.
func parsePrefix(s string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(s)
	if addr, addrErr := netip.ParseAddr(s); addrErr == nil && addr.Zone() == "" {
		prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	switch {
	case err != nil:
		return netip.Prefix{}, &Error{
			Cause:  fmt.Errorf("%s is not an IP address with or without a prefix length", quote(s)),
			Remedy: "write it like 10.0.0.2/32 or fd00::2/128",
		}
	case prefix.Addr().Is4In6():
		return netip.Prefix{}, mapped(prefix.Addr())
	}
	return prefix, nil
}

func mapped(addr netip.Addr) error {
	return &Error{
		Cause:  fmt.Errorf("%s is an IPv4 address mapped into IPv6", addr),
		Remedy: fmt.Sprintf("write it as IPv4: %s", addr.Unmap()),
	}
}

// parseNetwork reads a network with no bits behind its length.
func parseNetwork(s string) (netip.Prefix, error) {
	prefix, err := parsePrefix(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return masked(prefix)
}

// masked refuses a prefix with bits set behind its length.
func masked(prefix netip.Prefix) (netip.Prefix, error) {
	if network := prefix.Masked(); network != prefix {
		return netip.Prefix{}, &Error{
			Cause:  fmt.Errorf("%s has bits set behind its length", prefix),
			Remedy: fmt.Sprintf("write %s, or %s for the one address", network, netip.PrefixFrom(prefix.Addr(), prefix.Addr().BitLen())),
		}
	}
	return prefix, nil
}

// parseAddress reads one of the tunnel's own addresses.
func parseAddress(s string) (netip.Prefix, error) {
	prefix, err := parsePrefix(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	if addr := prefix.Addr(); addr.IsUnspecified() || addr.IsMulticast() {
		return netip.Prefix{}, &Error{
			Cause:  fmt.Errorf("%s can't be the address of an interface", addr),
			Remedy: "write the address that the other end has for this tunnel in its AllowedIPs",
		}
	}
	return prefix, nil
}

// parseAllowedIP reads one network of a peer, not yet masked.
func parseAllowedIP(s string) (netip.Prefix, error) {
	if strings.HasPrefix(s, "+") || strings.HasPrefix(s, "-") {
		return netip.Prefix{}, &Error{
			Cause:  fmt.Errorf("%s adds to or removes from the list of a running interface, and a file begins with none", quote(s)),
			Remedy: "write the whole list without + and -",
		}
	}
	return parsePrefix(s)
}

// parseDNS reads a name server's address or else a search domain; which of the
// two it has to be is told from its characters, as wg-quick does.
func parseDNS(s string) (server netip.Addr, domain string, err error) {
	if !strings.Contains(s, ":") && strings.Trim(s, "0123456789.") != "" {
		if !isName(s) {
			return netip.Addr{}, "", &Error{
				Cause:  fmt.Errorf("%s is neither the address of a name server nor a search domain", quote(s)),
				Remedy: "write it like 10.0.0.1 or corp.example",
			}
		}
		return netip.Addr{}, s, nil
	}
	server, err = netip.ParseAddr(s)
	switch {
	case err != nil || server.Zone() != "" || server.IsUnspecified() || server.IsMulticast():
		return netip.Addr{}, "", &Error{
			Cause:  fmt.Errorf("%s is not the address of a name server", quote(s)),
			Remedy: "write it like 10.0.0.1 or fd00::1, without a port",
		}
	case server.Is4In6():
		return netip.Addr{}, "", mapped(server)
	}
	return server, "", nil
}

// parseEndpoint reads host:port and writes it in one form: an address as
// package netip does, a name as it is.
func parseEndpoint(s string) (string, error) {
	if literal, err := netip.ParseAddrPort(s); err == nil && literal.Port() != 0 {
		return netip.AddrPortFrom(literal.Addr().Unmap(), literal.Port()).String(), nil
	}
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 || strings.HasSuffix(s, "]") {
		return "", &Error{
			Cause:  fmt.Errorf("%s has no port", quote(s)),
			Remedy: "write host:port; servers often listen on 51820",
		}
	}
	host, digits := s[:colon], s[colon+1:]
	if isAddr6(s) || isAddr6(host) {
		return "", &Error{
			Cause:  fmt.Errorf("%s is an IPv6 address without brackets, so where its port begins is unclear", quote(s)),
			Remedy: "write it like [2001:db8::1]:51820",
		}
	}
	port, err := parsePort(digits)
	if err != nil || port == 0 {
		return "", &Error{
			Cause:  fmt.Errorf("the port of %s is not a number from 1 to 65535", quote(s)),
			Remedy: "write it like vpn.example.com:51820",
		}
	}
	if !isName(host) {
		return "", &Error{
			Cause:  fmt.Errorf("the host of %s is neither a name nor an IP address", quote(s)),
			Remedy: "write it like vpn.example.com:51820, 192.0.2.1:51820 or [2001:db8::1]:51820",
		}
	}
	return host + ":" + strconv.Itoa(int(port)), nil
}

func isAddr6(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Is6()
}

// isName reports whether s can be looked up: labels of at most 63 letters,
// digits, "-" and "_" (which names in use have, whatever RFC 1123 says), at most
// 253 bytes, perhaps a final dot. A last label of digits only would make it a
// malformed IPv4 address.
func isName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if len(s) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if !isWord(label[i]) {
				return false
			}
		}
		last = label
	}
	return strings.Trim(last, "0123456789") != ""
}

// parsePort reads a port from 0 to 65535.
func parsePort(s string) (uint16, error) {
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, &Error{Cause: fmt.Errorf("%s is not a port from 0 to 65535", quote(s)), Remedy: "0 is any free port"}
	}
	return uint16(port), nil
}

// parseMTU reads the size of the largest inner packet.
func parseMTU(s string) (int, error) {
	mtu, err := strconv.ParseUint(s, 10, 32)
	if err != nil || mtu < minMTU || mtu > maxMTU {
		return 0, &Error{
			Cause:  fmt.Errorf("%s is not a size from %d to %d bytes", quote(s), minMTU, maxMTU),
			Remedy: "remove the line for the default",
		}
	}
	return int(mtu), nil
}

// parseKeepalive reads seconds, or "off" in any case.
func parseKeepalive(s string) (time.Duration, error) {
	if strings.EqualFold(s, "off") {
		return 0, nil
	}
	seconds, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, &Error{
			Cause:  fmt.Errorf("%s is not a number of seconds from 0 to 65535", quote(s)),
			Remedy: "write off, or 25 to keep a NAT's mapping alive",
		}
	}
	return time.Duration(seconds) * time.Second, nil
}
