package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/wimble-proxy/wimble/config"
)

// The addresses of a public server that answers with the address that it sees its visitor come from, and its name.
var (
	publicTarget4 = netip.AddrFrom4([4]byte{1, 1, 1, 1})
	publicTarget6 = netip.MustParseAddr("2606:4700:4700::1111")
)

const (
	publicName = "one.one.one.one"
	publicPage = "/cdn-cgi/trace"
)

// suggest is what to try first through a tunnel, and what to know about it. The place is where its configuration is.
func suggest(t config.Tunnel, place string) (target, remark string) {
	names, why := namesWork(t, place)
	switch {
	case reaches(t, publicTarget4) && names, reaches(t, publicTarget6) && names:
		return "https://" + publicName + publicPage, ""
	case reaches(t, publicTarget4):
		return fmt.Sprintf("https://%v%s", publicTarget4, publicPage), why
	case reaches(t, publicTarget6):
		return fmt.Sprintf("https://[%v]%s", publicTarget6, publicPage), why
	}
	networks := networksOf(t)
	switch {
	case networks == "":
		return "http://ADDRESS/", "no peer has AllowedIPs, so nothing can be reached; add them in " + place
	case names:
		return "http://HOST/", "HOST is a name, or an address in " + networks
	}
	return "http://ADDRESS/", fmt.Sprintf("ADDRESS is one in %s; %s", networks, why)
}

// namesWork reports whether names can be looked up in a tunnel, and if not, why.
func namesWork(t config.Tunnel, place string) (ok bool, why string) {
	switch {
	case len(t.DNS) == 0 && place == variables:
		return false, "names are refused, as the tunnel has no name server; give DNS in " + textVariable + ", which takes a whole file, in place of these variables"
	case len(t.DNS) == 0:
		return false, "names are refused, as the tunnel has no name server; add DNS in " + place
	case !slices.ContainsFunc(t.DNS, func(server netip.Addr) bool { return reaches(t, server) }):
		return false, fmt.Sprintf("names can't be looked up, as no peer has the name server %v in its AllowedIPs; change DNS or AllowedIPs in %s", t.DNS[0], place)
	}
	return true, ""
}

// reaches reports whether a tunnel has a way to an address.
func reaches(t config.Tunnel, to netip.Addr) bool {
	sameFamily := func(own netip.Prefix) bool { return own.Addr().Is4() == to.Is4() }
	contains := func(network netip.Prefix) bool { return network.Contains(to) }
	return slices.ContainsFunc(t.Addresses, sameFamily) && slices.ContainsFunc(t.Peers, func(p config.Peer) bool {
		return slices.ContainsFunc(p.AllowedIPs, contains)
	})
}

// networksOf are the networks behind a tunnel, or some of them.
func networksOf(t config.Tunnel) string {
	const shown = 3
	var networks []string
	for _, peer := range t.Peers {
		for _, network := range peer.AllowedIPs {
			networks = append(networks, network.String())
		}
	}
	if len(networks) > shown {
		networks = append(networks[:shown], "...")
	}
	return strings.Join(networks, ", ")
}

// try is a command that uses a proxy, which listens at an address, for a target.
func try(p config.Proxy, at net.Addr, target string) string {
	scheme := "socks5h"
	if !slices.Contains(p.Protocols, config.SOCKS5) {
		scheme = "http"
	}
	login := ""
	if len(p.Users) > 0 {
		login = "NAME:PASSWORD@"
	}
	who, host := callers(p, p.Listen.Addr())
	_, port, _ := net.SplitHostPort(at.String()) // a TCP address has both
	return fmt.Sprintf("%s: curl -x %s://%s%s %s", who, scheme, login, net.JoinHostPort(host, port), target)
}

// callers says who can try a proxy that listens on an address, and by which name of this host.
func callers(p config.Proxy, listen netip.Addr) (who, host string) {
	here := listen
	switch listen {
	case netip.IPv4Unspecified():
		here = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case netip.IPv6Unspecified():
		here = netip.IPv6Loopback()
	}
	allowed := func(network netip.Prefix) bool { return network.Contains(here) }
	if len(p.AllowClients) == 0 || slices.ContainsFunc(p.AllowClients, allowed) {
		return "try", here.String()
	}
	host = listen.String()
	if listen.IsUnspecified() {
		host = "THIS-HOST"
	}
	return fmt.Sprintf("try from %v", p.AllowClients[0]), host
}
