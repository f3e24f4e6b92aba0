package config

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// The keys that the checks speak of, in the words of wg-quick(8).
const (
	keyPrivateKey   = "PrivateKey"
	keyAddress      = "Address"
	keyDNS          = "DNS"
	keyMTU          = "MTU"
	keyListenPort   = "ListenPort"
	keyPublicKey    = "PublicKey"
	keyPresharedKey = "PresharedKey"
	keyEndpoint     = "Endpoint"
	keyAllowedIPs   = "AllowedIPs"
	keyKeepalive    = "PersistentKeepalive"
)

// theInterface stands where a peer's index does for what belongs to none.
const theInterface = -1

// A locator knows where the i-th value of a key, or else the section that it
// is missing in, stands in a file of some format. Peers count from 0.
type locator func(peer int, key string, i int) Place

// A checker holds the values of a tunnel against each other. Each value has
// been read on its own before.
type checker struct {
	tunnel   *Tunnel
	locate   locator
	warnings []Warning
}

// check is everything that makes a [Tunnel] what its comments promise, and one
// pass for all formats.
func check(t *Tunnel, locate locator) ([]Warning, error) {
	c := &checker{tunnel: t, locate: locate}
	for _, step := range []func() error{c.checkInterface, c.checkPeers, c.checkAllowedIPs} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return c.warnings, nil
}

func (c *checker) warn(at Place, text string) {
	c.warnings = append(c.warnings, Warning{At: at, Text: text})
}

func (c *checker) checkInterface() error {
	t := c.tunnel
	if t.PrivateKey.IsZero() {
		return &Error{
			At:     c.locate(theInterface, keyPrivateKey, 0),
			Cause:  errors.New("no private key is given"),
			Remedy: "add the one whose public key the other end knows, or make a pair with wimble genkey and wimble pubkey",
		}
	}
	if len(t.Addresses) == 0 {
		return &Error{
			At:     c.locate(theInterface, keyAddress, 0),
			Cause:  errors.New("no address is given"),
			Remedy: "add the one that the other end has for this tunnel in its AllowedIPs",
		}
	}
	seen := make(map[netip.Addr]bool)
	for i, prefix := range t.Addresses {
		addr := prefix.Addr()
		if seen[addr] {
			return &Error{
				At:     c.locate(theInterface, keyAddress, i),
				Cause:  fmt.Errorf("%s is given twice", addr),
				Remedy: "keep one",
			}
		}
		seen[addr] = true
		if addr.Is6() && t.MTU != 0 && t.MTU < minMTU6 {
			return &Error{
				At:     c.locate(theInterface, keyMTU, 0),
				Cause:  fmt.Errorf("%d bytes are too few for the IPv6 address %s", t.MTU, addr),
				Remedy: fmt.Sprintf("raise it to at least %d or remove the address", minMTU6),
			}
		}
	}
	if len(t.Peers) == 0 {
		c.warn(c.locate(theInterface, "", 0), "there is no peer, so nothing can be reached")
	}
	return nil
}

func (c *checker) checkPeers() error {
	own := c.tunnel.PrivateKey.Public()
	first := make(map[key.Public]int)
	for i := range c.tunnel.Peers {
		public := c.tunnel.Peers[i].PublicKey
		place := c.locate(i, keyPublicKey, 0)
		if public.IsZero() {
			return &Error{
				At:     place,
				Cause:  errors.New("no public key is given"),
				Remedy: "add the one that the other end shows as its own",
			}
		}
		if public == own {
			return &Error{
				At:     place,
				Cause:  errors.New("this is the tunnel's own public key"),
				Remedy: "put the other end's here, and our own into its configuration",
			}
		}
		if j, taken := first[public]; taken {
			return &Error{
				At:     place,
				Cause:  fmt.Errorf("peer %d has the same public key", j+1),
				Remedy: "make one section of the two",
			}
		}
		first[public] = i
		if _, err := c.tunnel.PrivateKey.DH(public); err != nil {
			return &Error{
				At:     place,
				Cause:  fmt.Errorf("nobody can have this key pair: %w", err),
				Remedy: "ask the other end for its public key",
			}
		}
	}
	return nil
}

// checkAllowedIPs refuses a network that is given twice, and warns of peers
// without any and, once, of networks that lie within another peer's.
func (c *checker) checkAllowedIPs() error {
	owners := make(map[netip.Prefix]int)
	for i, peer := range c.tunnel.Peers {
		if len(peer.AllowedIPs) == 0 {
			c.warn(c.locate(i, keyAllowedIPs, 0), "no AllowedIPs: nothing is sent to this peer, nothing from it is accepted")
		}
		for n, prefix := range peer.AllowedIPs {
			owner, taken := owners[prefix]
			switch {
			case taken && owner == i:
				return &Error{
					At:     c.locate(i, keyAllowedIPs, n),
					Cause:  fmt.Errorf("%s is given twice", prefix),
					Remedy: "keep one",
				}
			case taken:
				return &Error{
					At:     c.locate(i, keyAllowedIPs, n),
					Cause:  fmt.Errorf("%s is in the list of peer %d already", prefix, owner+1),
					Remedy: "leave it with the one peer that is to get the packets",
				}
			}
			owners[prefix] = i
		}
	}
	c.warnNested(owners)
	return nil
}

// warnNested looks for networks within networks of other peers.
func (c *checker) warnNested(owners map[netip.Prefix]int) {
	var lengths [129]bool
	for prefix := range owners {
		lengths[prefix.Bits()] = true
	}
	var text string
	var place Place
	more := 0
	for i, peer := range c.tunnel.Peers {
		for n, prefix := range peer.AllowedIPs {
			outer, owner, ok := surrounding(prefix, owners, &lengths)
			switch {
			case !ok || owner == i:
			case text == "":
				place = c.locate(i, keyAllowedIPs, n)
				text = fmt.Sprintf("%s lies within %s of peer %d: packets to it go to peer %d", prefix, outer, owner+1, i+1)
			default:
				more++
			}
		}
	}
	if more > 0 {
		text += fmt.Sprintf(" (and %d more like this)", more)
	}
	if text != "" {
		c.warn(place, text)
	}
}

// surrounding is the smallest of the networks that holds inner and more.
// lengths has the lengths that occur among them.
func surrounding(inner netip.Prefix, owners map[netip.Prefix]int, lengths *[129]bool) (netip.Prefix, int, bool) {
	for bits := inner.Bits() - 1; bits >= 0; bits-- {
		if !lengths[bits] {
			continue
		}
		outer := netip.PrefixFrom(inner.Addr(), bits).Masked()
		if owner, ok := owners[outer]; ok {
			return outer, owner, true
		}
	}
	return netip.Prefix{}, 0, false
}
