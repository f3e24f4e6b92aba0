package netstack

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/net/dns/dnsmessage"
)

// FuzzAnswer reads whatever a server may send. What it accepts agrees with a
// parser of another family.
func FuzzAnswer(f *testing.F) {
	q := new(dns.Msg)
	q.SetQuestion("www.example.", dns.TypeA)
	for _, records := range [][]string{
		nil,
		{"www.example. 60 A 192.0.2.1"},
		{"www.example. 60 CNAME a.example.", "a.example. 60 A 192.0.2.1", "a.example. 60 A 192.0.2.2"},
		{"www.example. 60 AAAA 2001:db8::1", "other.example. 1 A 192.0.2.9"},
		{"www.example. 60 CNAME www.example."},
	} {
		m := new(dns.Msg)
		m.SetReply(q)
		for _, text := range records {
			rr, err := dns.NewRR(text)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		reply := new(dns.Msg)
		if reply.Unpack(b) != nil || len(reply.Question) != 1 {
			return
		}
		got, err := read(reply, dns.TypeA)
		if err != nil {
			if len(got.addrs) > 0 {
				t.Errorf("addresses %v beside the error %v", got.addrs, err)
			}
			return
		}
		if got.ttl < 0 || got.ttl > maxTTL && len(got.addrs) > 0 || got.aliases > maxAliases {
			t.Errorf("out of bounds: %+v", got)
		}
		if want, ok := independently(b); ok && got.aliases == 0 && !slices.Equal(got.addrs, want) {
			t.Errorf("addresses %v, the other parser finds %v", got.addrs, want)
		}
	})
}

// independently finds the addresses of the name asked for, without aliases,
// with another parser. It reports false for what that one refuses.
func independently(b []byte) ([]netip.Addr, bool) {
	var m dnsmessage.Message
	if m.Unpack(b) != nil || len(m.Questions) != 1 {
		return nil, false
	}
	var found []netip.Addr
	for _, rr := range m.Answers {
		a, ok := rr.Body.(*dnsmessage.AResource)
		if ok && strings.EqualFold(rr.Header.Name.String(), m.Questions[0].Name.String()) {
			found = append(found, netip.AddrFrom4(a.A))
		}
	}
	return found, true
}
