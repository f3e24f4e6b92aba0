package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/netstack"
)

// TestGateway: peers reach what the rules allow, and when it is told to end, who is in may finish and nobody new comes in.
func TestGateway(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				c.Close()
			}()
		}
	}()

	near, far, err := demoTunnels()
	if err != nil {
		t.Fatal(err)
	}
	network := netip.MustParsePrefix("192.0.2.0/24")
	s := quietApp().newSession(newPlan("the test", config.Config{
		Tunnels: []config.Tunnel{far},
		Gateway: &config.Gateway{Tunnel: far.Name, Allow: []config.Rule{{Network: network, FirstPort: 7, LastPort: 7}}},
	}))
	s.name = ""
	if err := s.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	s.gateway.mu.Lock() // which accept takes before it dials
	s.gateway.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != "192.0.2.7:7" {
			t.Errorf("it dials %s", address)
		}
		return s.host.DialGateway(ctx, network, server.Addr().String())
	}
	s.gateway.mu.Unlock()

	near.Peers[0].AllowedIPs = append(near.Peers[0].AllowedIPs, network)
	near.Peers[0].Endpoint = fmt.Sprintf("127.0.0.1:%d", s.tunnels[0].net.Device().ListenPort())
	peer, err := netstack.Open(t.Context(), near, netstack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx) }()

	c, err := peer.DialContext(t.Context(), "tcp", "192.0.2.7:7")
	if err != nil {
		t.Fatal(err)
	}
	if n := s.conns(); n != 1 {
		t.Errorf("it counts %d connections", n)
	}
	if _, err := peer.DialContext(t.Context(), "tcp", "192.0.2.7:8"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("what no rule allows: %v", err)
	}
	end()
	// This waits until it knows that it ends; the connection is there all the while.
	for {
		late, err := peer.DialContext(t.Context(), "tcp", "192.0.2.7:7")
		if errors.Is(err, syscall.ECONNREFUSED) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		late.Close()
	}
	const text = "still here"
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	if err := c.(*netstack.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if echo, err := io.ReadAll(c); err != nil || string(echo) != text {
		t.Errorf("the connection ended with %q, %v", echo, err)
	}
	c.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestNameServer: what it answers.
func TestNameServer(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := serveNames(conn, quietApp().console.log, func(_ context.Context, name string) ([]netip.Addr, error) {
		switch name {
		case "both.example":
			return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("::ffff:192.0.2.2")}, nil
		case "none.example":
			return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
		}
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	})
	defer n.close()
	for _, test := range []struct {
		name  string
		kind  uint16
		rcode int
		want  []string
	}{
		{"both.example.", dns.TypeA, dns.RcodeSuccess, []string{"192.0.2.1", "192.0.2.2"}},
		{"both.example.", dns.TypeAAAA, dns.RcodeSuccess, []string{"2001:db8::1"}},
		{"both.example.", dns.TypeMX, dns.RcodeSuccess, nil},
		{"none.example.", dns.TypeA, dns.RcodeNameError, nil},
		{"broken.example.", dns.TypeA, dns.RcodeServerFailure, nil},
	} {
		reply, err := dns.Exchange(new(dns.Msg).SetQuestion(test.name, test.kind), conn.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, record := range reply.Answer {
			switch record := record.(type) {
			case *dns.A:
				got = append(got, record.A.String())
			case *dns.AAAA:
				got = append(got, record.AAAA.String())
			}
		}
		if reply.Rcode != test.rcode || !slices.Equal(got, test.want) {
			t.Errorf("%s %s: got %s, %v", test.name, dns.TypeToString[test.kind], dns.RcodeToString[reply.Rcode], got)
		}
	}
	q := new(dns.Msg).SetQuestion("both.example.", dns.TypeA)
	q.Question[0].Qclass = dns.ClassCHAOS
	if reply, err := dns.Exchange(q, conn.LocalAddr().String()); err != nil || reply.Rcode != dns.RcodeRefused {
		t.Errorf("another class: %v, %v", reply, err)
	}
}
