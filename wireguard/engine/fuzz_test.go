package engine

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// script is the bytes of a fuzz input, read one after the other; behind its
// end there are zeros.
type script struct {
	bytes []byte
}

func (s *script) next() byte {
	if len(s.bytes) == 0 {
		return 0
	}
	b := s.bytes[0]
	s.bytes = s.bytes[1:]
	return b
}

// upTo is a number below n.
func (s *script) upTo(n int) int { return (int(s.next())<<8 | int(s.next())) % n }

// play is two nodes that a script plays with. The network holds everything
// until the script lets it go.
type play struct {
	*lab
	script *script
	keys   int // private keys given out
}

// acts are what a script can do, by their number. n is one of the two nodes,
// and m the other.
var acts = []func(p *play, n, m *node){
	func(_ *play, n, m *node) { n.send(m) },
	func(_ *play, n, m *node) { n.greet(m) },
	func(p *play, _, _ *node) { p.pass() },
	func(p *play, _, _ *node) { p.pass() }, // twice as often as most
	func(p *play, _, _ *node) { p.passAll() },
	func(p *play, _, _ *node) { // a copy stays
		if d := p.pick(); d != nil {
			p.hand(*d)
			p.held = append(p.held, *d)
		}
	},
	func(p *play, _, _ *node) { p.pick() }, // is lost
	func(p *play, _, _ *node) { // is changed on its way
		if d := p.pick(); d != nil {
			msg := clone(d.msg)
			msg[p.script.upTo(len(msg))] ^= 1 << (p.script.next() % 8)
			p.hand(datagram{d.from, d.to, msg[:len(msg)-p.script.upTo(2)]})
		}
	},
	func(p *play, n, m *node) { // is junk
		msg := make([]byte, p.script.upTo(200))
		for i := range msg {
			msg[i] = p.script.next()
		}
		n.receive(Endpoint{Addr: m.addr}, msg)
	},
	func(p *play, _, _ *node) { p.run(p.now + time.Duration(p.script.next())*time.Millisecond) },
	func(p *play, _, _ *node) { p.run(p.now + time.Duration(p.script.next())*100*time.Millisecond) },
	func(p *play, _, _ *node) { p.run(p.now + time.Duration(p.script.next())*3*time.Second) },
	func(p *play, n, _ *node) { n.skew = time.Duration(int8(p.script.next())) * 1000 * time.Hour },
	func(p *play, n, m *node) { n.knows(m, preshared(p.script.next()%2)) },
	func(p *play, n, m *node) { n.knows(m, keepalive(time.Duration(p.script.next()%30)*time.Second)) },
	func(_ *play, n, m *node) {
		n.knows(m, func(c *PeerChange) { c.Remove = true })
		n.knows(m)
	},
	func(p *play, n, m *node) { // a new private key, which the other side learns
		p.keys++
		k := key.PrivateFrom([32]byte{1: byte(p.keys), 2: byte(p.keys >> 8)})
		old := PeerChange{PublicKey: n.key.Public(), Remove: true}
		n.apply(Change{PrivateKey: &k})
		m.apply(Change{Peers: []PeerChange{old, m.change(n)}})
	},
	func(_ *play, n, _ *node) { n.restart() },
	func(_ *play, n, _ *node) {
		n.engine.Suspend(n.time(), &n.out)
		n.settle()
	},
	func(_ *play, n, m *node) {
		n.knows(m, func(c *PeerChange) { c.AllowedIPs, c.ReplaceAllowedIPs = nil, true })
	},
	func(_ *play, n, m *node) { n.knows(m) },
	func(p *play, n, _ *node) { n.backlog.Waiting = 1024 * p.script.upTo(3) / 2 },
	func(p *play, n, m *node) {
		n.peer(m).TryEndpoint(n.time(), m.addr, &n.out)
		n.settle()
	},
	func(_ *play, n, _ *node) { // the handshake worker stops, or goes on
		n.lazy = !n.lazy
		n.initiate()
		n.settle()
	},
}

// pick takes a held datagram out of the network, nil if there is none.
func (p *play) pick() *datagram {
	if len(p.held) == 0 {
		return nil
	}
	i := p.script.upTo(len(p.held))
	d := p.held[i]
	p.held = append(p.held[:i:i], p.held[i+1:]...)
	return &d
}

func (p *play) pass() {
	if d := p.pick(); d != nil {
		p.hand(*d)
	}
}

// passAll lets everything arrive, also what is sent for it.
func (p *play) passAll() {
	for range 100 {
		if len(p.held) == 0 {
			return
		}
		d := p.held[0]
		p.held = p.held[1:]
		p.hand(d)
	}
}

// playScript plays a script to its end, or for 200 acts. The observer and the
// audit of indices must have no complaint, and in the end the two nodes must be
// able to talk.
func playScript(t *testing.T, seed uint64, input []byte) {
	l, a, b := pair(t, seed)
	l.hold()
	p := &play{lab: l, script: &script{input}}
	for range 200 {
		if len(p.script.bytes) == 0 {
			break
		}
		act := p.script.next()
		n, m := a, b
		if act >= 0x80 {
			n, m = b, a
		}
		acts[int(act&0x7f)%len(acts)](p, n, m)
		l.audit()
	}
	p.makePeace(a, b)
}

// FuzzEngine plays any sequence of acts with two engines: sending, loss,
// reorder, duplication, corruption, time, and every change of configuration.
func FuzzEngine(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, input []byte) { playScript(t, 1, input) })
}

// TestRandomPlays does the same with random scripts.
func TestRandomPlays(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 4))
		input := make([]byte, 20+r.IntN(500))
		for i := range input {
			input[i] = byte(r.Uint32())
		}
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { playScript(t, seed, input) })
	}
}

// makePeace undoes what keeps the two apart, and wants data to flow.
func (p *play) makePeace(a, b *node) {
	p.carry, p.held = nil, nil
	for _, n := range p.nodes {
		n.backlog.Waiting = 0
		n.skew = 0
		n.lazy = false
		n.initiate()
		n.settle()
	}
	a.knows(b, preshared(0), keepalive(0))
	b.knows(a, preshared(0), keepalive(0))
	before := [2]int{a.delivered[b], b.delivered[a]}
	for end := p.now + simRecovery; p.now < end; {
		a.send(b)
		b.send(a)
		p.run(p.now + time.Second)
	}
	if a.delivered[b] == before[0] || b.delivered[a] == before[1] {
		p.Fatalf("no data flows: %d and %d packets; drops %v and %v", a.delivered[b]-before[0], b.delivered[a]-before[1],
			a.engine.Drops(), b.engine.Drops())
	}
}
