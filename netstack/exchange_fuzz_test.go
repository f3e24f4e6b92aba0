package netstack

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
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
	// One record each: of the name spelled otherwise, in bytes that no text
	// has; of another class; without an address.
	const (
		header   = "\x00\x01\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00"
		question = "\x04\x80bcd\x00\x00\x01\x00\x01"
	)
	for _, record := range []string{
		"\x04\xffbcd\x00\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x040000",
		"\xc0\x0c\x00\x01\x00\x03\x00\x00\x00\x3c\x00\x040000",
		"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x000000",
	} {
		f.Add([]byte(header + question + record))
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
// with another parser. It reports false for what that one refuses. That one
// takes four bytes for an address whatever the record's length is.
func independently(b []byte) ([]netip.Addr, bool) {
	var m dnsmessage.Message
	if m.Unpack(b) != nil || len(m.Questions) != 1 {
		return nil, false
	}
	var found []netip.Addr
	for _, rr := range m.Answers {
		a, ok := rr.Body.(*dnsmessage.AResource)
		if ok && rr.Header.Length == net.IPv4len && rr.Header.Class == dnsmessage.ClassINET &&
			sameName(rr.Header.Name, m.Questions[0].Name) {
			found = append(found, netip.AddrFrom4(a.A))
		}
	}
	return found, true
}

// sameName compares names byte by byte, with ASCII's letters folded (RFC
// 4343): names are not text, and bytes that are none differ.
func sameName(a, b dnsmessage.Name) bool {
	fold := func(n dnsmessage.Name) []byte {
		folded := n.Data[:n.Length]
		for i, c := range folded {
			if c >= 'A' && c <= 'Z' {
				folded[i] = c - 'A' + 'a'
			}
		}
		return folded
	}
	return bytes.Equal(fold(a), fold(b))
}
