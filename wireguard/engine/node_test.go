package engine

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// node is one engine of a lab and what stands around it.
type node struct {
	*lab
	number  int
	key     key.Private
	addr    netip.AddrPort
	mtu     int
	engine  *Engine
	backlog Backlog
	skew    time.Duration // of the wall clock
	asleep  bool          // the machine is: nothing arrives, no timer runs
	timers  []timer       // what a Device would know of deadlines
	out     Output
	lazy    bool    // initiations wait in wanted
	wanted  []*Peer // for their making

	sent      []datagram    // all that left, unless quiet
	trace     []string      // the same by name and time, since expect
	happened  []string      // events by name and time, since expectEvents
	delivered map[*node]int // packets of each other node
}

// timer is the deadline of a peer that the engine announced.
type timer struct {
	peer *Peer
	at   time.Duration
}

func (n *node) time() Time { return Time{Boot: n.now, Wall: epoch.Add(n.now + n.skew)} }

// ip4 and ip6 are the node's addresses in the tunnel.
func (n *node) ip4() netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(n.number)}) }
func (n *node) ip6() netip.Addr { return netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(n.number)}) }

// move gives the node another address; the old one still leads to it.
func (n *node) move(to netip.AddrPort) {
	n.addr = to
	n.hosts[to] = n
}

// change is what knows applies.
func (n *node) change(m *node, edits ...func(*PeerChange)) PeerChange {
	addr := m.addr
	c := PeerChange{
		PublicKey:  m.key.Public(),
		Endpoint:   &addr,
		AllowedIPs: []netip.Prefix{netip.PrefixFrom(m.ip4(), 32), netip.PrefixFrom(m.ip6(), 128)},
	}
	for _, edit := range edits {
		edit(&c)
	}
	return c
}

// knows makes m a peer of n, or changes it.
func (n *node) knows(m *node, edits ...func(*PeerChange)) {
	n.apply(Change{Peers: []PeerChange{n.change(m, edits...)}})
}

func keepalive(every time.Duration) func(*PeerChange) {
	return func(c *PeerChange) { c.Keepalive = &every }
}

func preshared(b byte) func(*PeerChange) {
	k := key.PresharedFrom([32]byte{b})
	return func(c *PeerChange) { c.PresharedKey = &k }
}

func nowhere(c *PeerChange) { c.Endpoint = nil }

func (n *node) apply(c Change) {
	if c.PrivateKey != nil {
		n.key = *c.PrivateKey
		n.watch.forget(n) // a new identity may initiate at once
	}
	for i := range c.Peers {
		if c.Peers[i].Remove {
			n.watch.forget(n)
		}
	}
	n.engine.Apply(n.time(), c, &n.out)
	n.settle()
}

// restart takes the engine down and up.
func (n *node) restart() {
	n.engine.Down()
	n.watch.forget(n)
	n.engine.Up(n.time(), &n.out)
	n.settle()
}

// peer is m as n has it.
func (n *node) peer(m *node) *Peer {
	p := n.engine.Peer(m.key.Public())
	if p == nil {
		n.Fatalf("at %v: node %d does not know node %d", n.now, n.number, m.number)
	}
	return p
}

// greet sends m a keepalive, for which a session is made.
func (n *node) greet(m *node) {
	p := n.peer(m)
	p.lock.Lock()
	p.sendKeepalive(n.time(), &n.out)
	p.unlock(&n.out)
	n.settle()
}

// send sends m a small packet.
func (n *node) send(m *node) { n.sendPacket(packet4(n.ip4(), m.ip4(), 28, n.watch.id())) }

// sendPacket sends one packet as Device.Send does.
func (n *node) sendPacket(packet []byte) {
	dst, _ := netip.AddrFromSlice(packet[16:20])
	if packet[0]>>4 == 6 {
		dst, _ = netip.AddrFromSlice(packet[24:40])
	}
	p := n.engine.Route(dst)
	if p == nil {
		return
	}
	k := p.SendKey(n.now)
	if k == nil {
		p.Stage(n.time(), &n.out, packet)
		n.settle()
		return
	}
	counter, ok := k.Reserve(1)
	if !ok {
		p.Stage(n.time(), &n.out, packet)
		n.settle()
		return
	}
	slot := make([]byte, SealedSize(len(packet), n.mtu))
	copy(slot[message.DataHeaderSize:], packet)
	k.Seal(slot, counter)
	if to, ok := p.Endpoint(); ok {
		n.transmit(to, slot)
	}
	p.Sent(n.time(), k, len(slot), &n.out)
	n.settle()
}

// receive takes one datagram in as a Device does.
func (n *node) receive(from Endpoint, msg []byte) {
	defer n.settle()
	if t, ok := message.Classify(msg); !ok || t != message.TypeData {
		if n.engine.Admit(n.time(), from, msg, n.backlog, &n.out) {
			n.engine.Handshake(n.time(), from, msg, &n.out)
		}
		return
	}
	k := n.engine.Find(message.DataReceiver(msg))
	if k == nil {
		return
	}
	opened, why := k.Open(n.now, msg)
	if why != DropNone {
		n.engine.Drop(why)
		return
	}
	run := []Opened{opened}
	k.Commit(n.time(), from, run, &n.out)
	if len(run[0].Packet) == 0 {
		return
	}
	if packet := n.engine.Police(k.Peer(), run[0].Packet); packet != nil {
		n.deliver(k.Peer(), packet)
	}
}

// deliver counts one packet.
func (n *node) deliver(from *Peer, packet []byte) {
	n.watch.delivered(n, packet)
	for _, m := range n.nodes {
		if m.key.Public() == from.Public() {
			n.delivered[m]++
			if n.onDelivery != nil {
				n.onDelivery(m, n)
			}
		}
	}
}

// transmit hands a datagram to the network.
func (n *node) transmit(to Endpoint, msg []byte) {
	d := datagram{from: n.addr, to: to.Addr, msg: clone(msg)}
	n.watch.left(n, d)
	if !n.quiet {
		n.sent = append(n.sent, datagram{d.from, d.to, clone(msg)})
		n.trace = append(n.trace, fmt.Sprintf("%v %s", n.now, kind(msg)))
	}
	if n.carry == nil {
		n.arrive(d, 0)
		return
	}
	n.carry(d)
}

// settle does what the engine asked for.
func (n *node) settle() {
	for {
		for i := range n.out.Datagrams {
			n.transmit(n.out.Datagrams[i].To, n.out.Datagrams[i].Bytes)
		}
		for _, p := range n.out.Rearm {
			n.rearm(p)
		}
		for _, e := range n.out.Events {
			n.watch.events[e.Kind]++
			if !n.quiet {
				n.happened = append(n.happened, fmt.Sprintf("%v %s", n.now, eventName(e)))
			}
		}
		n.wanted = append(n.wanted, n.out.Initiate...)
		n.out.Reset()
		if n.lazy || len(n.wanted) == 0 {
			break
		}
		n.initiate()
	}
	n.watch.deadlines(n)
}

// initiate makes the initiations that were asked for, in an order that does
// not depend on that of a map.
func (n *node) initiate() {
	slices.SortFunc(n.wanted, func(a, b *Peer) int { return cmp.Compare(a.public.String(), b.public.String()) })
	for _, p := range n.wanted {
		p.Initiate(n.time(), &n.out)
	}
	n.wanted = n.wanted[:0]
}

func (n *node) rearm(p *Peer) {
	for i := range n.timers {
		if n.timers[i].peer == p {
			n.timers[i].at = min(n.timers[i].at, p.Deadline())
			return
		}
	}
	n.timers = append(n.timers, timer{p, p.Deadline()})
}

func eventName(e Event) string {
	switch e.Kind {
	case EventInitiation:
		return fmt.Sprintf("attempt %d", e.Attempt)
	case EventHandshake:
		return "handshake"
	case EventEndpoint:
		return "endpoint"
	case EventGaveUp:
		return "gave up"
	case EventOldTimestamp:
		return "old timestamp"
	case EventKeysZeroed:
		return "keys zeroed"
	}
	return "unknown"
}

// expect compares what left the node since the last call, "5.333s initiation",
// with what should have, for a reason.
func (n *node) expect(reason string, want ...string) {
	n.Helper()
	compare(n.lab, n.number, reason, n.trace, want)
	n.trace = nil
}

// expectEvents is expect for events.
func (n *node) expectEvents(reason string, want ...string) {
	n.Helper()
	compare(n.lab, n.number, reason, n.happened, want)
	n.happened = nil
}

func compare(l *lab, number int, reason string, got, want []string) {
	l.Helper()
	if !slices.Equal(got, want) {
		l.Fatalf("node %d at %v: %s:\n got %s\nwant %s", number, l.now, reason,
			strings.Join(got, ", "), strings.Join(want, ", "))
	}
}

// expectDrops compares the counter of one reason.
func (n *node) expectDrops(why Drop, want uint64) {
	n.Helper()
	if got := n.engine.Drops()[why]; got != want {
		n.Fatalf("node %d at %v: %d drops for %v, want %d (all: %v)", n.number, n.now, got, why, want, n.engine.Drops())
	}
}

// expectDelivered compares how many packets of m arrived.
func (n *node) expectDelivered(m *node, want int) {
	n.Helper()
	if got := n.delivered[m]; got != want {
		n.Fatalf("node %d at %v: %d packets of node %d, want %d (drops: %v)", n.number, n.now, got, m.number, want, n.engine.Drops())
	}
}
