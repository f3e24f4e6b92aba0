package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	nameTime = 5 * time.Second // for a lookup
	nameTTL  = 60              // seconds that an answer may be kept
)

// nameServer is a DNS server for addresses alone, that looks up what it is asked for in one function.
type nameServer struct {
	lookup func(ctx context.Context, name string) ([]netip.Addr, error)
	server dns.Server
	serve  sync.WaitGroup
}

// serveNames answers what comes to a socket until close.
func serveNames(conn net.PacketConn, log *slog.Logger, lookup func(ctx context.Context, name string) ([]netip.Addr, error)) *nameServer {
	n := &nameServer{lookup: lookup}
	started := make(chan struct{})
	n.server = dns.Server{PacketConn: conn, Handler: n, NotifyStartedFunc: func() { close(started) }}
	n.serve.Go(func() {
		if err := n.server.ActivateAndServe(); err != nil {
			log.Warn("the name server has ended", "error", err)
		}
	})
	<-started
	return n
}

func (n *nameServer) close() {
	_ = n.server.Shutdown() // fails only if it does not run
	n.serve.Wait()
}

// ServeDNS answers one question.
func (n *nameServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	reply := new(dns.Msg).SetReply(q)
	reply.RecursionAvailable = true
	if len(q.Question) != 1 || q.Question[0].Qclass != dns.ClassINET {
		reply.Rcode = dns.RcodeRefused
	} else {
		reply.Answer, reply.Rcode = n.answer(q.Question[0])
	}
	_ = w.WriteMsg(reply) // who asked asks again
}

func (n *nameServer) answer(q dns.Question) (records []dns.RR, rcode int) {
	if q.Qtype != dns.TypeA && q.Qtype != dns.TypeAAAA {
		return nil, dns.RcodeSuccess // no such record is known
	}
	ctx, cancel := context.WithTimeout(context.Background(), nameTime)
	defer cancel()
	addrs, err := n.lookup(ctx, strings.TrimSuffix(q.Name, "."))
	var failure *net.DNSError
	switch {
	case errors.As(err, &failure) && failure.IsNotFound:
		return nil, dns.RcodeNameError
	case err != nil:
		return nil, dns.RcodeServerFailure
	}
	header := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: nameTTL}
	for _, addr := range addrs {
		switch addr = addr.Unmap(); {
		case q.Qtype == dns.TypeA && addr.Is4():
			records = append(records, &dns.A{Hdr: header, A: addr.AsSlice()})
		case q.Qtype == dns.TypeAAAA && addr.Is6():
			records = append(records, &dns.AAAA{Hdr: header, AAAA: addr.AsSlice()})
		}
	}
	return records, dns.RcodeSuccess
}
