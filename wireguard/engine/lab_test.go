package engine

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// epoch is what every wall clock shows at time 0.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// lab is a few engines and the network between them in virtual time. One
// goroutine runs it, and all that is random comes from its seed. It does with
// an Engine what a Device does, and checks what must hold at every step.
type lab struct {
	testing.TB
	seed   uint64
	now    time.Duration
	nodes  []*node
	hosts  map[netip.AddrPort]*node
	events []event // sorted by time, equal ones in the order of their making
	// carry is what the network does with a datagram: it calls arrive once for
	// each copy that gets through. Nil: one does, at once.
	carry func(d datagram)
	held  []datagram // by hold
	watch observer
	// onDelivery is told of each packet that arrived, unless nil.
	onDelivery func(from, to *node)
	// quiet keeps no traces, for what runs for long.
	quiet bool
}

// event is something that the lab does at its time.
type event struct {
	at time.Duration
	do func()
	datagram
}

// datagram is one on its way.
type datagram struct {
	from, to netip.AddrPort
	msg      []byte
}

func newLab(t testing.TB, seed uint64) *lab {
	l := &lab{TB: t, seed: seed, hosts: map[netip.AddrPort]*node{}}
	l.watch.init()
	t.Cleanup(func() {
		l.audit()
		if t.Failed() {
			t.Logf("seed %d, at %v", seed, l.now)
		}
	})
	return l
}

// pair is two engines that are up and know each other, without a session.
func pair(t testing.TB, seed uint64) (l *lab, a, b *node) {
	l = newLab(t, seed)
	a, b = l.add(Config{}), l.add(Config{})
	a.knows(b)
	b.knows(a)
	return l, a, b
}

// met is a pair with a session that a initiated at time 0, on which nothing
// but its first keepalive was sent.
func met(t testing.TB, seed uint64) (l *lab, a, b *node) {
	l, a, b = pair(t, seed)
	a.greet(b)
	l.run(0)
	a.expect("the initiator confirms at once", "0s initiation", "0s keepalive")
	b.expect("the responder waits", "0s response")
	return l, a, b
}

// source is a reader that the seed and n determine.
func (l *lab) source(n int) io.Reader {
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], l.seed)
	binary.LittleEndian.PutUint64(s[8:], uint64(n))
	return rand.NewChaCha8(s)
}

// add makes a node that is up. Config.Rand may be nil.
func (l *lab) add(c Config) *node {
	n := &node{lab: l, number: len(l.nodes) + 1, backlog: Backlog{Limit: 1024}, delivered: map[*node]int{}}
	if c.Rand == nil {
		c.Rand = l.source(n.number)
	}
	k, err := key.NewPrivate(l.source(-n.number))
	if err != nil {
		l.Fatal(err)
	}
	n.key, n.mtu, n.engine = k, c.MTU, New(c)
	l.nodes = append(l.nodes, n)
	n.move(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n.number)}), 51820))
	n.apply(Change{PrivateKey: &k})
	n.engine.Up(n.time(), &n.out)
	n.settle()
	return n
}

// at plans something.
func (l *lab) at(t time.Duration, do func()) { l.plan(event{at: t, do: do}) }

// arrive lets one copy of d get through after a delay.
func (l *lab) arrive(d datagram, delay time.Duration) { l.plan(event{at: l.now + delay, datagram: d}) }

func (l *lab) plan(e event) {
	i, _ := slices.BinarySearchFunc(l.events, e, func(a, b event) int {
		if a.at > b.at {
			return 1
		}
		return -1 // equal ones stay before it
	})
	l.events = slices.Insert(l.events, i, e)
}

// run lets everything happen that is due up to and at time to.
func (l *lab) run(to time.Duration) {
	for l.step(to) {
	}
	l.now = to
}

// step does the next thing if it is due by then. Of what is due at one time
// datagrams and plans come before timers.
func (l *lab) step(to time.Duration) bool {
	var n *node
	var t *timer
	at := to + 1
	for _, m := range l.nodes {
		if m.asleep {
			continue
		}
		for i := range m.timers {
			if m.timers[i].at < at {
				n, t, at = m, &m.timers[i], m.timers[i].at
			}
		}
	}
	if len(l.events) > 0 && l.events[0].at <= at && l.events[0].at <= to {
		e := l.events[0]
		l.events = slices.Delete(l.events, 0, 1)
		l.now = max(l.now, e.at)
		if e.do != nil {
			e.do()
		} else if to := l.hosts[e.to]; to != nil && !to.asleep {
			to.receive(Endpoint{Addr: e.from}, e.msg)
		}
		return true
	}
	if n == nil {
		return false
	}
	l.now = max(l.now, at)
	t.at = never
	t.peer.Advance(n.time(), &n.out)
	n.settle()
	return true
}

// lose is a network that nothing gets through.
func lose(datagram) {}

// hold is a network that keeps everything until it is told to pass it.
func (l *lab) hold() { l.carry = func(d datagram) { l.held = append(l.held, d) } }

// take is the oldest held message of one kind that n sent, out of the network.
func (l *lab) take(n *node, what string) datagram {
	l.Helper()
	for i, d := range l.held {
		if l.hosts[d.from] == n && kind(d.msg) == what {
			l.held = slices.Delete(l.held, i, i+1)
			return d
		}
	}
	l.Fatalf("at %v: no %s of node %d is on its way", l.now, what, n.number)
	return datagram{}
}

// pass takes such a message and lets a copy of it arrive now.
func (l *lab) pass(n *node, what string) {
	l.Helper()
	l.hand(l.take(n, what))
}

// hand lets a copy of d arrive now.
func (l *lab) hand(d datagram) { l.hosts[d.to].receive(Endpoint{Addr: d.from}, clone(d.msg)) }

// steadyJitter makes every jitter the same. Draws of 4 bytes are jitters and
// indices; it gives the twelve numbers that mean that jitter in turn.
type steadyJitter struct {
	jitter time.Duration
	turn   int
	keys   io.Reader
}

func (s *steadyJitter) Read(b []byte) (int, error) {
	if len(b) != 4 {
		return s.keys.Read(b)
	}
	s.turn = (s.turn + 1) % 12
	binary.LittleEndian.PutUint32(b, uint32(s.jitter+time.Duration(s.turn)*(maxJitter+1)))
	return 4, nil
}

// steady is a pair with a known jitter.
func steady(t testing.TB, jitter time.Duration) (l *lab, a, b *node) {
	l = newLab(t, 1)
	a = l.add(Config{Rand: &steadyJitter{jitter: jitter, keys: l.source(1)}})
	b = l.add(Config{Rand: &steadyJitter{jitter: jitter, keys: l.source(2)}})
	a.knows(b)
	b.knows(a)
	return l, a, b
}

// kind names a message as traces do.
func kind(msg []byte) string {
	switch t, ok := message.Classify(msg); {
	case !ok:
		return "junk"
	case t == message.TypeInitiation:
		return "initiation"
	case t == message.TypeResponse:
		return "response"
	case t == message.TypeCookieReply:
		return "cookie reply"
	case len(msg) == message.DataMinSize:
		return "keepalive"
	}
	return "data"
}

// packet4 is an IPv4 packet of size bytes that carries id.
func packet4(src, dst netip.Addr, size int, id uint64) []byte {
	p := make([]byte, size)
	p[0], p[8], p[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(p[2:], uint16(size))
	copy(p[12:], src.AsSlice())
	copy(p[16:], dst.AsSlice())
	binary.BigEndian.PutUint64(p[20:], id)
	return p
}

// packet6 is an IPv6 packet of size bytes that carries id.
func packet6(src, dst netip.Addr, size int, id uint64) []byte {
	p := make([]byte, size)
	p[0], p[6], p[7] = 0x60, 17, 64
	binary.BigEndian.PutUint16(p[4:], uint16(size-ipv6HeaderSize))
	copy(p[8:], src.AsSlice())
	copy(p[24:], dst.AsSlice())
	binary.BigEndian.PutUint64(p[40:], id)
	return p
}

// packetID is what packet4 or packet6 put in.
func packetID(p []byte) uint64 {
	if p[0]>>4 == 4 {
		return binary.BigEndian.Uint64(p[20:])
	}
	return binary.BigEndian.Uint64(p[40:])
}

// clone is a copy of a message, which the engine may decrypt in place.
func clone(msg []byte) []byte { return bytes.Clone(msg) }
