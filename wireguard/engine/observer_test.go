package engine

import (
	"net/netip"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/message"
)

// observer checks what holds at every step of every lab: no nonce is used
// twice with one key, no two initiations to one peer leave within
// Rekey-Timeout and none so soon after a response, no packet is delivered
// twice, and no deadline moves earlier without a word.
type observer struct {
	nonces map[session]uint64      // the next one
	quiet  map[route]time.Duration // no initiation earlier
	seen   []uint64                // a bit for each packet delivered
	ids    uint64
	sent   [message.TypeData + 1]int // messages of each type
	events [EventKeysZeroed + 1]int  // of each kind
	// onPacket is told of each packet that arrived, unless nil.
	onPacket func(id uint64)
}

// session is a receiver index and whose it is.
type session struct {
	receiver *node
	index    uint32
}

// route is a way from a node to a node or, if nobody is there, to an address.
type route struct {
	from, to *node
	addr     netip.AddrPort
}

func (o *observer) init() {
	o.nonces = map[session]uint64{}
	o.quiet = map[route]time.Duration{}
}

// id numbers a packet.
func (o *observer) id() uint64 {
	o.ids++
	return o.ids
}

// forget lets n initiate again at once.
func (o *observer) forget(n *node) {
	for r := range o.quiet {
		if r.from == n {
			delete(o.quiet, r)
		}
	}
}

// left looks at a datagram that leaves n.
func (o *observer) left(n *node, d datagram) {
	r := route{from: n, to: n.hosts[d.to]}
	if r.to == nil {
		r.addr = d.to
	}
	t, _ := message.Classify(d.msg)
	o.sent[t]++
	switch t {
	case message.TypeInitiation:
		if n.now < o.quiet[r] {
			n.Fatalf("at %v: node %d initiates %v too early", n.now, n.number, o.quiet[r]-n.now)
		}
		o.quiet[r] = n.now + RekeyTimeout
		m, _ := message.ParseInitiation(d.msg)
		delete(o.nonces, session{n, m.Sender}) // a new session, if any
	case message.TypeResponse:
		o.quiet[r] = n.now + RekeyTimeout
		m, _ := message.ParseResponse(d.msg)
		delete(o.nonces, session{n, m.Sender})
	case message.TypeData:
		s := session{r.to, message.DataReceiver(d.msg)}
		counter := message.DataCounter(d.msg)
		if counter < o.nonces[s] {
			n.Fatalf("at %v: node %d uses nonce %d again", n.now, n.number, counter)
		}
		o.nonces[s] = counter + 1
	}
}

// delivered looks at a packet that n let in.
func (o *observer) delivered(n *node, packet []byte) {
	id := packetID(packet)
	word, bit := int(id/64), uint64(1)<<(id%64)
	for len(o.seen) <= word {
		o.seen = append(o.seen, 0)
	}
	if o.seen[word]&bit != 0 {
		n.Fatalf("at %v: packet %d delivered twice", n.now, id)
	}
	o.seen[word] |= bit
	if o.onPacket != nil {
		o.onPacket(id)
	}
}

// deadlines compares what a Device would know with what is.
func (o *observer) deadlines(n *node) {
	for i := range n.timers {
		if t := &n.timers[i]; t.peer.Deadline() < t.at {
			n.Fatalf("at %v: node %d has a deadline at %v and announced %v", n.now, n.number, t.peer.Deadline(), t.at)
		}
	}
}

// audit compares every index with what it stands for. Nothing may be left over
// and nothing be missing.
func (l *lab) audit() {
	for _, n := range l.nodes {
		live := 0
		for _, p := range *n.engine.peers.Load() {
			for _, in := range []*initiation{p.pending, p.late} {
				if in != nil {
					live++
					if got := n.engine.indices.find(in.index); got.pending != in || got.peer != p {
						l.Errorf("at %v: node %d: index %#x is not that of its initiation", l.now, n.number, in.index)
					}
				}
			}
			for _, k := range []*Keypair{p.previous, p.current.Load(), p.next} {
				if k != nil {
					live++
					if got := n.engine.indices.find(k.local); got.keypair != k || got.peer != p {
						l.Errorf("at %v: node %d: index %#x is not that of its session", l.now, n.number, k.local)
					}
				}
			}
		}
		if got := n.engine.indices.size(); got != live {
			l.Errorf("at %v: node %d has %d indices for %d sessions and handshakes", l.now, n.number, got, live)
		}
	}
}
