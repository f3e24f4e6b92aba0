package netstack

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/singleflight"

	"github.com/wimble-proxy/wimble/config"
)

const (
	// lookupLimit ends a lookup whatever is still missing.
	lookupLimit = 8 * time.Second
	dnsPort     = 53
	// maxName is the longest name, in the text form without the last dot (RFC
	// 1035, section 2.3.4).
	maxName = 253
)

// Resolver looks names up at DNS servers inside the tunnel, and nowhere else:
// without a server a lookup fails. What it learns it keeps for as long as the
// servers say, within bounds. Its methods may be called by any number of
// goroutines.
type Resolver struct {
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	servers []netip.AddrPort
	search  []string
	hosts   map[string][]netip.Addr
	rand    io.Reader
	cache   nameCache
	flights singleflight.Group
	// families are the record types that a lookup asks for: an address of a
	// family that the tunnel does not have is of no use.
	families []uint16
}

// newResolver makes a resolver that knows no server yet.
func newResolver(n *Net) *Resolver {
	r := &Resolver{dial: n.DialContext, rand: rand.Reader}
	if n.has6 {
		r.families = append(r.families, dns.TypeAAAA)
	}
	if n.has4 {
		r.families = append(r.families, dns.TypeA)
	}
	return r
}

// configure is called before the first lookup.
func (r *Resolver) configure(t config.Tunnel, hosts map[string][]netip.Addr) {
	r.search, r.hosts = t.Search, hosts
	for _, server := range t.DNS {
		r.servers = append(r.servers, netip.AddrPortFrom(server, dnsPort))
	}
}

// LookupNetIP returns the addresses of a host. The network is ip, ip4 or ip6.
// A host that is an address is returned as it is. A name without a dot is
// looked for in the search domains first, any other as it is and then there;
// one that ends in a dot only as it is. The error is a [*net.DNSError].
func (r *Resolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	var addrs []netip.Addr
	var failure error
	answers := r.lookup(ctx, network, host)
	for range cap(answers) {
		a := <-answers
		addrs = append(addrs, a.addrs...)
		if a.err != nil && (failure == nil || isNotFound(failure)) {
			failure = a.err
		}
	}
	if len(addrs) > 0 {
		return addrs, nil
	}
	return nil, failure
}

// answer is what became of a host's addresses of one family.
type answer struct {
	addrs []netip.Addr
	err   error // a *net.DNSError, not nil without addresses
}

// lookup asks for each family of the network at the same time. The channel has
// the capacity of the answers that come, one for each, so that nobody has to
// wait for them.
func (r *Resolver) lookup(ctx context.Context, network, host string) <-chan answer {
	var types []uint16
	for _, t := range r.families {
		if network == "ip" || network == "ip4" && t == dns.TypeA || network == "ip6" && t == dns.TypeAAAA {
			types = append(types, t)
		}
	}
	answers := make(chan answer, max(len(types), 1))
	if len(types) == 0 {
		answers <- answer{err: &net.DNSError{Err: "the tunnel has no address of this family", Name: host, IsNotFound: true}}
		return answers
	}
	for _, t := range types {
		go func() {
			addrs, err := r.find(ctx, host, t)
			answers <- answer{addrs, err}
		}()
	}
	return answers
}

// find goes through the names that a host can stand for, until one exists.
func (r *Resolver) find(ctx context.Context, host string, kind uint16) ([]netip.Addr, error) {
	if err := checkName(host); err != nil {
		return nil, err
	}
	if addrs, ok := r.hosts[strings.ToLower(strings.TrimSuffix(host, "."))]; ok {
		return ofFamily(host, addrs, kind)
	}
	if len(r.servers) == 0 {
		return nil, noNames(host)
	}
	var failure error
	for _, name := range r.candidates(host) {
		addrs, err := r.resolve(ctx, name, kind)
		if err == nil {
			return addrs, nil
		}
		if failure == nil || isNotFound(failure) {
			failure = err
		}
		if !isNotFound(err) {
			break // a server that does not answer says nothing about other names
		}
	}
	return nil, named(failure, host)
}

// checkName refuses what is no name for the DNS, and localhost, which is never
// in the tunnel (RFC 6761, section 6.3).
func checkName(host string) error {
	name := strings.TrimSuffix(host, ".")
	reason := ""
	switch _, valid := dns.IsDomainName(name); {
	case name == "" || len(name) > maxName || !valid:
		reason = "not a domain name"
	case strings.EqualFold(name, "localhost") || strings.HasSuffix(strings.ToLower(name), ".localhost"):
		reason = "this host is not reached through its own tunnel"
	}
	for _, label := range strings.Split(name, ".") {
		if label == "" {
			reason = "not a domain name"
		}
	}
	if reason != "" {
		return &net.DNSError{Err: reason, Name: host, IsNotFound: true}
	}
	return nil
}

// candidates are the absolute names to try for a host, in their order.
func (r *Resolver) candidates(host string) []string {
	if strings.HasSuffix(host, ".") {
		return []string{host}
	}
	var found []string
	for _, domain := range r.search {
		if name := host + "." + domain; len(name) <= maxName {
			found = append(found, dns.Fqdn(name))
		}
	}
	if strings.Contains(host, ".") {
		return append([]string{host + "."}, found...)
	}
	return append(found, host+".")
}

// resolve returns the addresses of an absolute name, from the cache or from a
// server. Who asks for the same at the same time waits for the same answer.
func (r *Resolver) resolve(ctx context.Context, name string, kind uint16) ([]netip.Addr, error) {
	question := cacheKey{strings.ToLower(name), kind}
	if a, ok := r.cache.get(question, time.Now()); ok {
		return a.addrs, a.err
	}
	flight := r.flights.DoChan(question.name+dns.TypeToString[kind], func() (any, error) {
		// It goes on when the first that asked leaves: others may wait.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupLimit)
		defer cancel()
		found, err := r.chase(ctx, question.name, kind)
		var a answer
		switch {
		case err != nil:
			a.err = err
		case len(found.addrs) == 0:
			a.err = &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
		default:
			a.addrs = found.addrs
		}
		if a.err == nil || isNotFound(a.err) {
			r.cache.put(question, a, found.ttl, time.Now())
		}
		return a, nil
	})
	select {
	case <-ctx.Done():
		return nil, &net.DNSError{Err: ctx.Err().Error(), Name: name, UnwrapErr: ctx.Err(), IsTimeout: errors.Is(ctx.Err(), context.DeadlineExceeded)}
	case result := <-flight:
		a := result.Val.(answer)
		return a.addrs, a.err
	}
}

// ofFamily picks the addresses that a record of this type has.
func ofFamily(host string, addrs []netip.Addr, kind uint16) ([]netip.Addr, error) {
	var found []netip.Addr
	for _, a := range addrs {
		if a.Is4() == (kind == dns.TypeA) {
			found = append(found, a)
		}
	}
	if found == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return found, nil
}

func isNotFound(err error) bool {
	var failure *net.DNSError
	return errors.As(err, &failure) && failure.IsNotFound
}

// named is a lookup's error for the name that was asked for.
func named(err error, host string) error {
	var failure *net.DNSError
	if !errors.As(err, &failure) {
		return err
	}
	copied := *failure
	copied.Name = host
	return &copied
}
