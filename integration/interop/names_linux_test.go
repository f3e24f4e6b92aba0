package interop

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer is a name server that knows a few names, and remembers what it was
// asked for.
type nameServer struct {
	names map[string][]netip.Addr // in lower case, without the last dot

	mu    sync.Mutex
	asked []string // guarded by mu: names in lower case, each with the type asked for, as "web.example. A"
}

// serve answers until the socket is closed.
func (s *nameServer) serve(c net.PacketConn) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		var query dnsmessage.Message
		if query.Unpack(buf[:n]) != nil || len(query.Questions) != 1 {
			continue
		}
		reply, err := s.answer(query.Header.ID, query.Questions[0])
		if err != nil {
			continue // a name that can't be packed was not unpacked either
		}
		_, _ = c.WriteTo(reply, from) // who asked asks again
	}
}

func (s *nameServer) answer(id uint16, q dnsmessage.Question) ([]byte, error) {
	name := strings.ToLower(q.Name.String())
	s.mu.Lock()
	s.asked = append(s.asked, name+" "+strings.TrimPrefix(q.Type.String(), "Type"))
	s.mu.Unlock()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, Response: true, Authoritative: true, RecursionAvailable: true},
		Questions: []dnsmessage.Question{q},
	}
	addresses, known := s.names[strings.TrimSuffix(name, ".")]
	if !known {
		m.RCode = dnsmessage.RCodeNameError
	}
	header := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}
	for _, a := range addresses {
		switch {
		case q.Type == dnsmessage.TypeA && a.Is4():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: a.As4()}})
		case q.Type == dnsmessage.TypeAAAA && a.Is6():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	return m.Pack()
}

// questions is what it was asked for so far.
func (s *nameServer) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// serveNames starts a name server at the first address behind a peer.
func serveNames(t *testing.T, peer *foreign, names map[string][]netip.Addr) *nameServer {
	t.Helper()
	c, err := peer.ListenPacket(t.Context(), "udp", at(theirsInside[0], 53))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s := &nameServer{names: names}
	go s.serve(c)
	return s
}
