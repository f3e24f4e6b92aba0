package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/message"
)

// name is a receiver index and whose it is.
type name = session

// shape writes down all that the future of two nodes depends on, and nothing
// that merely differs from one run to the next: indices by the order in which
// they come up, times from now on and in milliseconds, messages on their way
// that can still do something in no order. Left out are the number of attempts,
// which ends far beyond what is explored, and keys.
func (c *crossroads) shape() string {
	s := &shapes{crossroads: c, names: map[name]int{}}
	for _, n := range c.nodes {
		s.node(n)
	}
	s.messages()
	return s.String()
}

type shapes struct {
	*crossroads
	strings.Builder
	names map[name]int
}

// index names an index of n.
func (s *shapes) index(n *node, index uint32) int {
	k := name{n, index}
	if _, ok := s.names[k]; !ok {
		s.names[k] = len(s.names)
	}
	return s.names[k]
}

// from is a time as seen from now.
func (s *shapes) from(t time.Duration) string {
	if t == never {
		return "never"
	}
	return (t - s.now).Round(time.Millisecond).String()
}

func (s *shapes) node(n *node) {
	p := s.the(n)
	for _, k := range []*Keypair{p.previous, p.current.Load(), p.next} {
		if k == nil {
			fmt.Fprint(s, "- ")
			continue
		}
		fmt.Fprintf(s, "%d>%d %t %s %d %d %x ", s.index(n, k.local), s.index(s.other(n), k.remote), k.initiator,
			s.from(k.birth), k.counter.Load(), k.received.next, k.received.ring[0])
	}
	for _, in := range []*initiation{p.pending, p.late} {
		if in == nil {
			fmt.Fprint(s, "- ")
			continue
		}
		fmt.Fprintf(s, "%d %s ", s.index(n, in.index), s.from(in.sent))
	}
	t := &p.timers
	for _, at := range []time.Duration{t.retransmit, t.keepalive, t.newHandshake, t.zeroKeys, t.persistent} {
		fmt.Fprint(s, s.from(at), " ")
	}
	fmt.Fprintf(s, "%t %s %t %d\n", t.lastMinuteSent, s.from(max(p.notBefore, s.now)),
		s.now < p.lastAccepted+floodInterval, len(p.staged))
}

// messages writes down what is on its way. The initiations of one node are
// numbered as their indices, and so their timestamps, rise.
func (s *shapes) messages() {
	live := slices.DeleteFunc(slices.Clone(s.held), func(d datagram) bool { return !s.alive(d) })
	slices.SortStableFunc(live, func(a, b datagram) int { return strings.Compare(kind(a.msg), kind(b.msg)) })
	var lines []string
	for _, d := range live {
		to := s.hosts[d.to]
		line := fmt.Sprint(kind(d.msg), to.number)
		switch t, _ := message.Classify(d.msg); t {
		case message.TypeInitiation:
			m, _ := message.ParseInitiation(d.msg)
			line += fmt.Sprint(" ", s.index(s.other(to), m.Sender))
		case message.TypeResponse:
			m, _ := message.ParseResponse(d.msg)
			line += fmt.Sprint(" ", s.index(to, m.Receiver), " ", s.index(s.other(to), m.Sender))
		case message.TypeData:
			line += fmt.Sprint(" ", s.index(to, message.DataReceiver(d.msg)), " ", message.DataCounter(d.msg))
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	fmt.Fprint(s, strings.Join(lines, "\n"))
}

// stamp notes the timestamp of an initiation that leaves.
func (c *crossroads) stamp(d datagram) {
	if m, ok := message.ParseInitiation(d.msg); ok {
		n := c.hosts[d.from]
		c.stamps[name{n, m.Sender}] = c.the(n).lastStamp
	}
}

// alive reports whether a message can still do something.
func (c *crossroads) alive(d datagram) bool {
	to := c.hosts[d.to]
	switch t, _ := message.Classify(d.msg); t {
	case message.TypeInitiation:
		m, _ := message.ParseInitiation(d.msg)
		return c.stamps[name{c.other(to), m.Sender}].After(c.the(to).newestStamp)
	case message.TypeResponse:
		m, _ := message.ParseResponse(d.msg)
		in := to.engine.indices.find(m.Receiver).pending
		return in != nil && c.the(to).awaits(in, to.time())
	case message.TypeData:
		k := to.engine.indices.find(message.DataReceiver(d.msg)).keypair
		if k == nil || k.expired(c.now) {
			return false
		}
		seen := k.received
		return seen.accept(message.DataCounter(d.msg))
	}
	return false
}
