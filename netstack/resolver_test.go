package netstack

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// nameServer is a scripted DNS server, reached by its dial function. Each
// message that comes is given to script, which returns what to send back, in
// order; nil sends nothing.
type nameServer struct {
	script func(network, server string, q *dns.Msg) [][]byte

	mu    sync.Mutex
	asked []string // "udp 10.0.0.53:53 example.org. A", in lower case
}

// dial is a Resolver's dial function. The far end of a connection lives until
// the near end is closed.
func (s *nameServer) dial(_ context.Context, network, server string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		for {
			q, err := readQuery(far, network)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.asked = append(s.asked, strings.ToLower(strings.Join(
				[]string{network, server, q.Question[0].Name, dns.TypeToString[q.Question[0].Qtype]}, " ")))
			s.mu.Unlock()
			for _, b := range s.script(network, server, q) {
				if network == "tcp" {
					b = append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
				}
				if _, err := far.Write(b); err != nil {
					return
				}
			}
		}
	}()
	return near, nil
}

func readQuery(c net.Conn, network string) (*dns.Msg, error) {
	b := make([]byte, 4096)
	var n int
	var err error
	if network == "tcp" {
		if _, err = io.ReadFull(c, b[:2]); err == nil {
			n, err = io.ReadFull(c, b[:binary.BigEndian.Uint16(b)])
		}
	} else {
		n, err = c.Read(b)
	}
	if err != nil {
		return nil, err
	}
	q := new(dns.Msg)
	return q, q.Unpack(b[:n])
}

func (s *nameServer) queries() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// reply makes an answer with these records, written as in a zone file.
func reply(t *testing.T, q *dns.Msg, rcode int, records ...string) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.SetRcode(q, rcode)
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		if rr.Header().Rrtype == dns.TypeSOA {
			m.Ns = append(m.Ns, rr)
			continue
		}
		m.Answer = append(m.Answer, rr)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// zone answers from a table: "name. TYPE" to its records, an empty list for a
// name without any. What is not in it does not exist.
func zone(t *testing.T, records map[string][]string) *nameServer {
	return &nameServer{script: func(_, _ string, q *dns.Msg) [][]byte {
		found, exists := records[strings.ToLower(q.Question[0].Name)+" "+dns.TypeToString[q.Question[0].Qtype]]
		if !exists {
			return [][]byte{reply(t, q, dns.RcodeNameError)}
		}
		return [][]byte{reply(t, q, dns.RcodeSuccess, found...)}
	}}
}

var testServers = []netip.AddrPort{netip.MustParseAddrPort("10.0.0.53:53"), netip.MustParseAddrPort("10.0.0.54:53")}

func resolverAt(s *nameServer, search ...string) *Resolver {
	return &Resolver{
		dial: s.dial, servers: testServers[:1], search: search, rand: rand.Reader,
		families: []uint16{dns.TypeAAAA, dns.TypeA},
	}
}

func addrs(texts ...string) []netip.Addr {
	var list []netip.Addr
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

func TestResolverFinds(t *testing.T) {
	records := map[string][]string{
		"both.example. A":          {"both.example. 60 A 192.0.2.1"},
		"both.example. AAAA":       {"both.example. 60 AAAA 2001:db8::1"},
		"four.example. A":          {"four.example. 60 A 192.0.2.4", "four.example. 60 A 192.0.2.5"},
		"four.example. AAAA":       {},
		"www.example. A":           {"www.example. 60 CNAME a.example.", "a.example. 60 CNAME B.example.", "b.example. 60 A 192.0.2.7"},
		"half.example. A":          {"half.example. 60 CNAME four.example."},
		"db.corp.test. A":          {"db.corp.test. 60 A 10.1.1.1"},
		"db. A":                    {"db. 60 A 10.9.9.9"},
		"api.db.corp.test. A":      {"api.db.corp.test. 60 A 10.1.1.2"},
		"greedy.example. A":        {"greedy.example. 60 A 192.0.2.8", "bank.example. 60 A 203.0.113.1"},
		"xn--bcher-kva.example. A": {"xn--bcher-kva.example. 60 A 192.0.2.9"},
		"under_score.example. A":   {"under_score.example. 60 A 192.0.2.10"},
	}
	for _, test := range []struct {
		network, host string
		want          []netip.Addr
		reason        string
	}{
		{"ip4", "both.example", addrs("192.0.2.1"), "one family"},
		{"ip6", "both.example", addrs("2001:db8::1"), "the other"},
		{"ip", "both.example", addrs("192.0.2.1", "2001:db8::1"), "both, in any order"},
		{"ip", "BOTH.Example.", addrs("192.0.2.1", "2001:db8::1"), "case and the last dot mean nothing"},
		{"ip", "four.example", addrs("192.0.2.4", "192.0.2.5"), "no IPv6 is no failure"},
		{"ip4", "www.example", addrs("192.0.2.7"), "a chain of aliases in one answer"},
		{"ip4", "half.example", addrs("192.0.2.4", "192.0.2.5"), "an alias to ask for"},
		{"ip4", "db", addrs("10.1.1.1"), "a short name is looked for in the search domains first"},
		{"ip4", "db.", addrs("10.9.9.9"), "unless it ends in a dot"},
		{"ip4", "api.db", addrs("10.1.1.2"), "a name with a dot, in the search domains at last"},
		{"ip4", "greedy.example", addrs("192.0.2.8"), "records of other names are nobody's business"},
		{"ip4", "under_score.example", addrs("192.0.2.10"), "not a host name, but a name"},
		{"ip4", "xn--bcher-kva.example", addrs("192.0.2.9"), "an internationalised name"},
		{"ip", "192.0.2.99", addrs("192.0.2.99"), "an address"},
		{"ip", "gone.example", nil, "a name that does not exist"},
		{"ip6", "four.example", nil, "a name without such an address"},
		{"ip", "localhost", nil, "never in the tunnel"},
		{"ip", "a.LocalHost", nil, "nor what is under it"},
		{"ip", "", nil, "no name"},
		{"ip", "a..example", nil, "an empty label"},
		{"ip", strings.Repeat("a", 64) + ".example", nil, "a label too long"},
		{"ip", strings.Repeat("a.", 127) + "b", nil, "a name too long"},
	} {
		t.Run(test.network+" "+test.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := resolverAt(zone(t, records), "corp.test")
				got, err := r.LookupNetIP(t.Context(), test.network, test.host)
				slices.SortFunc(got, netip.Addr.Compare)
				if !slices.Equal(got, test.want) {
					t.Errorf("%q is %v (%v), want %v", test.host, got, err, test.want)
				}
				var failure *net.DNSError
				if test.want == nil && (!errors.As(err, &failure) || !failure.IsNotFound || failure.Name != test.host) {
					t.Errorf("error %#v, want a DNSError of %q that says not found", err, test.host)
				}
			})
		})
	}
}

// TestResolverWithoutServer: names are refused with the remedy, and nobody is
// asked.
func TestResolverWithoutServer(t *testing.T) {
	s := zone(t, nil)
	r := resolverAt(s)
	r.servers = nil
	_, err := r.LookupNetIP(t.Context(), "ip", "example.org")
	if err == nil || !strings.Contains(err.Error(), "DNS") || len(s.queries()) != 0 {
		t.Errorf("error %v after %v", err, s.queries())
	}
	r.hosts = map[string][]netip.Addr{"db.corp.test": addrs("10.0.0.9")}
	if got, err := r.LookupNetIP(t.Context(), "ip", "DB.corp.test."); err != nil || !slices.Equal(got, addrs("10.0.0.9")) {
		t.Errorf("the table of hosts says %v (%v)", got, err)
	}
}

// TestResolverIgnoresForgeries (D3): what is not the answer is not heard, and
// the true one that follows is.
func TestResolverIgnoresForgeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &nameServer{script: func(_, _ string, q *dns.Msg) [][]byte {
			forge := func(change func(m *dns.Msg)) []byte {
				m := q.Copy()
				m.Response = true
				m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(203, 0, 113, 66)}}
				change(m)
				b, err := m.Pack()
				if err != nil {
					t.Error(err)
				}
				return b
			}
			name := q.Question[0].Name
			return [][]byte{
				forge(func(m *dns.Msg) { m.Id++ }),
				forge(func(m *dns.Msg) { m.Response = false }),
				forge(func(m *dns.Msg) { m.Question[0].Name = "bank.example." }),
				forge(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA }),
				forge(func(m *dns.Msg) { m.Question[0].Name = swapCase(name) }),
				forge(func(m *dns.Msg) { m.Question = nil }),
				forge(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }),
				{1, 2, 3},
				reply(t, q, dns.RcodeSuccess, name+" 60 A 192.0.2.1"),
			}
		}}
		got, err := resolverAt(s).LookupNetIP(t.Context(), "ip4", "forged.example")
		if err != nil || !slices.Equal(got, addrs("192.0.2.1")) {
			t.Errorf("got %v (%v)", got, err)
		}
		if n := len(s.queries()); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

func swapCase(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			b[i] = c ^ 0x20
		}
	}
	return string(b)
}

// TestResolverCaseIsRandom: the first query of a name has its case mixed, the
// second, for servers that can't repeat that, has not.
func TestResolverCaseIsRandom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		s := &nameServer{script: func(_, _ string, q *dns.Msg) [][]byte {
			names = append(names, q.Question[0].Name)
			if q.Question[0].Name != strings.ToLower(q.Question[0].Name) {
				m := q.Copy()
				m.Question[0].Name = strings.ToLower(m.Question[0].Name)
				return [][]byte{reply(t, m, dns.RcodeSuccess, m.Question[0].Name+" 60 A 192.0.2.1")}
			}
			return [][]byte{reply(t, q, dns.RcodeSuccess, q.Question[0].Name+" 60 A 192.0.2.2")}
		}}
		const name = "a-name-with-many-letters-in-it.example"
		got, err := resolverAt(s).LookupNetIP(t.Context(), "ip4", name)
		if err != nil || !slices.Equal(got, addrs("192.0.2.2")) || len(names) != 2 || names[0] == names[1] {
			t.Errorf("asked for %v, got %v (%v)", names, got, err)
		}
	})
}

// TestResolverTruncation (D4): a cut answer is asked for again by TCP.
func TestResolverTruncation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &nameServer{script: func(network, _ string, q *dns.Msg) [][]byte {
			if network == "tcp" {
				return [][]byte{reply(t, q, dns.RcodeSuccess, q.Question[0].Name+" 60 A 192.0.2.1")}
			}
			if opt := q.IsEdns0(); opt == nil || opt.UDPSize() != payloadSize {
				t.Errorf("EDNS %v, want a size of %d", opt, payloadSize)
			}
			m := new(dns.Msg)
			m.SetReply(q)
			m.Truncated = true
			b, _ := m.Pack()
			return [][]byte{b}
		}}
		got, err := resolverAt(s).LookupNetIP(t.Context(), "ip4", "large.example")
		if err != nil || !slices.Equal(got, addrs("192.0.2.1")) {
			t.Errorf("got %v (%v) after %v", got, err, s.queries())
		}
	})
}

// TestResolverServers (D5): what each fault of a server costs, and who is
// asked next.
func TestResolverServers(t *testing.T) {
	const name = "host.example"
	good := func(t *testing.T, q *dns.Msg) [][]byte {
		return [][]byte{reply(t, q, dns.RcodeSuccess, q.Question[0].Name+" 60 A 192.0.2.1")}
	}
	for _, test := range []struct {
		fault   string
		first   func(t *testing.T, q *dns.Msg) [][]byte
		second  func(t *testing.T, q *dns.Msg) [][]byte
		queries int
		took    time.Duration
		found   bool
	}{
		{"none", good, good, 1, 0, true},
		{"silent", func(*testing.T, *dns.Msg) [][]byte { return nil }, good, 2, serverTimeout, true},
		{"server failure", rcode(dns.RcodeServerFailure), good, 2, 0, true},
		{"lame", rcode(dns.RcodeRefused), good, 2, 0, true},
		{"no such name is an answer", rcode(dns.RcodeNameError), good, 1, 0, false},
		{"both silent", func(*testing.T, *dns.Msg) [][]byte { return nil }, func(*testing.T, *dns.Msg) [][]byte { return nil }, 4, lookupLimit, false},
		{"both fail", rcode(dns.RcodeServerFailure), rcode(dns.RcodeServerFailure), 4, 0, false},
	} {
		t.Run(test.fault, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := new(nameServer)
				s.script = func(_, server string, q *dns.Msg) [][]byte {
					if server == testServers[0].String() {
						return test.first(t, q)
					}
					return test.second(t, q)
				}
				r := resolverAt(s)
				r.servers = testServers
				begin := time.Now()
				got, err := r.LookupNetIP(t.Context(), "ip4", name)
				if (err == nil) != test.found || len(s.queries()) != test.queries || time.Since(begin) != test.took {
					t.Errorf("%v (%v) after %v and %v, want %d queries and %v", got, err, s.queries(), time.Since(begin), test.queries, test.took)
				}
			})
		})
	}
}

func rcode(code int) func(*testing.T, *dns.Msg) [][]byte {
	return func(t *testing.T, q *dns.Msg) [][]byte { return [][]byte{reply(t, q, code)} }
}

// TestResolverCache (D9): TTLs are clamped to 5 s and 5 min, also of names
// that do not exist, and the cache has an end.
func TestResolverCache(t *testing.T) {
	for _, test := range []struct {
		name    string
		records []string
		rcode   int
		want    time.Duration
	}{
		{"ttl 0", []string{"n.example. 0 A 192.0.2.1"}, dns.RcodeSuccess, minTTL},
		{"ttl 60", []string{"n.example. 60 A 192.0.2.1"}, dns.RcodeSuccess, time.Minute},
		{"the alias's ttl", []string{"n.example. 20 CNAME m.example.", "m.example. 60 A 192.0.2.1"}, dns.RcodeSuccess, 20 * time.Second},
		{"ttl 2^31", []string{"n.example. 2147483648 A 192.0.2.1"}, dns.RcodeSuccess, minTTL},
		{"ttl 2^31-1", []string{"n.example. 2147483647 A 192.0.2.1"}, dns.RcodeSuccess, maxTTL},
		{"no such name", []string{"example. 900 SOA a. b. 1 1 1 1 30"}, dns.RcodeNameError, 30 * time.Second},
		{"no such name, no SOA", nil, dns.RcodeNameError, minTTL},
		{"no such address", []string{"example. 40 SOA a. b. 1 1 1 1 900"}, dns.RcodeSuccess, 40 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &nameServer{script: func(_, _ string, q *dns.Msg) [][]byte {
					records := slices.Clone(test.records)
					for i := range records {
						records[i] = strings.Replace(records[i], "n.example.", q.Question[0].Name, 1)
					}
					return [][]byte{reply(t, q, test.rcode, records...)}
				}}
				r := resolverAt(s)
				ask := func() int {
					_, _ = r.LookupNetIP(t.Context(), "ip4", "n.example")
					return len(s.queries())
				}
				if n := ask(); n != 1 {
					t.Fatalf("asked %d times", n)
				}
				time.Sleep(test.want - time.Nanosecond)
				if n := ask(); n != 1 {
					t.Error("asked again too early")
				}
				time.Sleep(time.Nanosecond)
				if n := ask(); n != 2 {
					t.Error("not asked again when the time was over")
				}
			})
		})
	}
	var c nameCache
	now := time.Now()
	for i := range 3 * maxNames {
		c.put(cacheKey{string(rune(i)), dns.TypeA}, answer{}, maxTTL, now)
		if len(c.entries) > maxNames {
			t.Fatalf("%d names", len(c.entries))
		}
	}
}

// TestResolverSingleFlight: who asks for the same at the same time shares one
// query; one that leaves does not take it away from the others.
func TestResolverSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &nameServer{script: func(_, _ string, q *dns.Msg) [][]byte {
			time.Sleep(time.Second)
			return [][]byte{reply(t, q, dns.RcodeSuccess, q.Question[0].Name+" 60 A 192.0.2.1")}
		}}
		r := resolverAt(s)
		ctx, leave := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer leave()
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				ctx, leaves := ctx, i == 0
				if !leaves {
					ctx = t.Context()
				}
				_, err := r.LookupNetIP(ctx, "ip4", "host.example")
				if leaves != (err != nil) || leaves && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("asker %d: %v", i, err)
				}
			})
			synctest.Wait()
		}
		all.Wait()
		if n := len(s.queries()); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestResolverBounds (D6): answers made to go on for ever do not.
func TestResolverBounds(t *testing.T) {
	loops := map[string]func(t *testing.T, q *dns.Msg) [][]byte{
		"alias to itself": func(t *testing.T, q *dns.Msg) [][]byte {
			return [][]byte{reply(t, q, dns.RcodeSuccess, q.Question[0].Name+" 60 CNAME "+q.Question[0].Name)}
		},
		"always another alias": func(t *testing.T, q *dns.Msg) [][]byte {
			return [][]byte{reply(t, q, dns.RcodeSuccess, q.Question[0].Name+" 60 CNAME a"+strings.ToLower(q.Question[0].Name))}
		},
		"255 aliases": func(t *testing.T, q *dns.Msg) [][]byte {
			records := []string{q.Question[0].Name + " 60 CNAME c0.example."}
			for i := range 255 {
				records = append(records, "c"+string(rune('0'+i%10))+".example. 60 CNAME c"+string(rune('0'+(i+1)%10))+".example.")
			}
			return [][]byte{reply(t, q, dns.RcodeSuccess, records...)}
		},
		"compression loop": func(_ *testing.T, q *dns.Msg) [][]byte {
			b, _ := q.Pack()
			b[2] |= 0x80
			b[7] = 1 // one answer
			return [][]byte{append(b[:len(b)-11], 0xc0, byte(len(b)-11), 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4)}
		},
	}
	for name, script := range loops {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &nameServer{script: func(_, _ string, q *dns.Msg) [][]byte { return script(t, q) }}
				if got, err := resolverAt(s).LookupNetIP(t.Context(), "ip4", "x.example"); err == nil {
					t.Errorf("got %v", got)
				}
				if n := len(s.queries()); n > serverTries*(maxAliases+1) {
					t.Errorf("asked %d times", n)
				}
			})
		})
	}
}
