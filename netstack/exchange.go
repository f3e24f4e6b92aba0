package netstack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// serverTries is how often each server is asked, serverTimeout how long
	// it gets for an answer.
	serverTries   = 2
	serverTimeout = 2 * time.Second
	// payloadSize is the UDP answer that every path carries whole (DNS flag
	// day 2020); a longer one comes by TCP.
	payloadSize = 1232
	// maxAliases is how many CNAME records lead from a name to its addresses
	// at the most, over all answers.
	maxAliases = 16
)

// found is what an answer says of a name.
type found struct {
	addrs []netip.Addr
	ttl   time.Duration
	// alias is where the name leads to without an address given: it has to be
	// asked for.
	alias   string
	aliases int // CNAME records followed
}

// chase asks for a name, and for where it leads to.
func (r *Resolver) chase(ctx context.Context, name string, kind uint16) (found, error) {
	ttl, aliases := maxTTL, 0
	for asked := name; ; {
		f, err := r.query(ctx, asked, kind)
		f.ttl = min(f.ttl, ttl)
		if err != nil {
			return f, err
		}
		aliases += f.aliases
		if f.alias == "" {
			return f, nil
		}
		if aliases > maxAliases {
			return found{}, &net.DNSError{Err: "too many aliases", Name: name}
		}
		asked, ttl = f.alias, f.ttl
	}
}

// query asks the servers, one after the other and all of them again, until
// one gives an answer.
func (r *Resolver) query(ctx context.Context, name string, kind uint16) (found, error) {
	var failure error
	for try := range serverTries {
		for _, server := range r.servers {
			f, err := r.ask(ctx, server, name, kind, try == 0)
			if err == nil || isNotFound(err) {
				return f, err
			}
			failure = err
			if ctx.Err() != nil {
				return found{}, failure
			}
		}
	}
	return found{}, failure
}

// ask puts one question to one server.
func (r *Resolver) ask(ctx context.Context, server netip.AddrPort, name string, kind uint16, mixCase bool) (found, error) {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	q, err := r.question(name, kind, mixCase)
	if err != nil {
		return found{}, err
	}
	reply, err := r.exchange(ctx, "udp", server, q)
	if err == nil && reply.Truncated {
		reply, err = r.exchange(ctx, "tcp", server, q)
	}
	failure := &net.DNSError{Name: name, Server: server.String()}
	var timeout net.Error
	switch {
	case err != nil:
		failure.Err, failure.UnwrapErr = "no answer from the DNS server in the tunnel: "+err.Error(), err
		failure.IsTimeout = errors.As(err, &timeout) && timeout.Timeout()
		failure.IsTemporary = true
	case reply.Rcode == dns.RcodeNameError:
		failure.Err, failure.IsNotFound = "no such host", true
		return found{ttl: negativeTTL(reply)}, failure
	case reply.Rcode != dns.RcodeSuccess:
		failure.Err, failure.IsTemporary = "the DNS server in the tunnel says "+dns.RcodeToString[reply.Rcode], true
	default:
		return read(reply, kind)
	}
	return found{}, failure
}

// question makes a query with a random id. The first try mixes the case of the
// name at random, which an answer has to repeat: that is harder to guess than
// the id and the port alone. The second does not, for servers that can't.
func (r *Resolver) question(name string, kind uint16, mixCase bool) (*dns.Msg, error) {
	random := make([]byte, 2+len(name))
	if _, err := io.ReadFull(r.rand, random); err != nil {
		return nil, fmt.Errorf("netstack: random: %w", err)
	}
	if mixCase {
		mixed := []byte(name)
		for i, b := range mixed {
			if b >= 'a' && b <= 'z' && random[2+i]&1 == 1 {
				mixed[i] = b - 'a' + 'A'
			}
		}
		name = string(mixed)
	}
	q := new(dns.Msg)
	q.SetQuestion(name, kind)
	q.Id = binary.BigEndian.Uint16(random)
	q.SetEdns0(payloadSize, false)
	return q, nil
}

// exchange sends a query and returns the answer to it. Each has a connection
// of its own, and so a random port.
func (r *Resolver) exchange(ctx context.Context, network string, server netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
	b, err := q.Pack()
	if err != nil {
		return nil, err
	}
	c, err := r.dial(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if network == "tcp" {
		b = append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
	}
	if _, err := c.Write(b); err != nil {
		return nil, err
	}
	for {
		b, err := receive(c, network)
		if err != nil {
			return nil, err
		}
		reply := new(dns.Msg)
		if reply.Unpack(b) == nil && answers(reply, q) {
			return reply, nil
		}
		if network == "tcp" {
			return nil, errors.New("an answer to another question")
		}
		// Somebody's guess, or the answer to an earlier owner of the port.
	}
}

// receive reads one message.
func receive(c net.Conn, network string) ([]byte, error) {
	if network == "udp" {
		b := make([]byte, 1<<16)
		n, err := c.Read(b)
		return b[:n], err
	}
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(c, b)
	return b, err
}

// answers reports whether reply is one to q, to the letter.
func answers(reply, q *dns.Msg) bool {
	return reply.Response && reply.Id == q.Id && reply.Opcode == dns.OpcodeQuery &&
		len(reply.Question) == 1 && reply.Question[0] == q.Question[0]
}

// read takes the addresses out of an answer: those of the name, and of what it
// is an alias for. Records of other names are nobody's business (RFC 5452,
// section 6).
func read(reply *dns.Msg, kind uint16) (found, error) {
	f := found{ttl: maxTTL}
	name := strings.ToLower(reply.Question[0].Name)
	aliases := map[string]*dns.CNAME{}
	for _, rr := range reply.Answer {
		if alias, ok := rr.(*dns.CNAME); ok && alias.Hdr.Class == dns.ClassINET {
			aliases[strings.ToLower(alias.Hdr.Name)] = alias
		}
	}
	for {
		for _, rr := range reply.Answer {
			h := rr.Header()
			if strings.EqualFold(h.Name, name) && h.Rrtype == kind && h.Class == dns.ClassINET {
				if a, ok := address(rr); ok {
					f.addrs = append(f.addrs, a)
					f.ttl = min(f.ttl, seconds(h.Ttl))
				}
			}
		}
		alias := aliases[name]
		switch {
		case len(f.addrs) > 0:
			return f, nil
		case alias == nil && f.aliases > 0:
			f.alias = name
			return f, nil
		case alias == nil:
			f.ttl = negativeTTL(reply)
			return f, nil
		case f.aliases == maxAliases:
			return f, &net.DNSError{Err: "too many aliases", Name: reply.Question[0].Name}
		}
		f.aliases++
		f.ttl = min(f.ttl, seconds(alias.Hdr.Ttl))
		name = strings.ToLower(alias.Target)
	}
}

// address is the address in a record of type A or AAAA.
func address(rr dns.RR) (netip.Addr, bool) {
	var ip net.IP
	switch rr := rr.(type) {
	case *dns.A:
		ip = rr.A.To4()
	case *dns.AAAA:
		ip = rr.AAAA
	}
	return netip.AddrFromSlice(ip)
}

// negativeTTL is how long a name may be taken not to exist (RFC 2308, section
// 5).
func negativeTTL(reply *dns.Msg) time.Duration {
	for _, rr := range reply.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return seconds(min(soa.Hdr.Ttl, soa.Minttl))
		}
	}
	return 0
}

// seconds is a TTL. One with the top bit set counts as 0 (RFC 2181, section 8).
func seconds(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}
