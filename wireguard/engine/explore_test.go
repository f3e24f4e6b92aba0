package engine

import (
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/handshake"
)

var exploreDepth = flag.Int("explore.depth", 5, "steps to explore all orders of")

// TestExplore takes two peers through every order of what can happen in a
// number of steps: either side initiates, any datagram on its way arrives, is
// lost, or arrives and stays to come once more, the next timer runs. The number
// is 5, or -explore.depth; states that look the same from within are explored
// once. From a pair that is clean, 4,000 are within 7 steps; they cost half a
// minute. In each state indices and key slots are in order, and with a good
// network data flows both ways within simRecovery.
func TestExplore(t *testing.T) {
	for _, root := range []struct {
		name string
		path []step
	}{
		{"clean", nil},
		{"with an old session", []step{{initiates, 0}, {arrives, 0}, {arrives, 0}, {arrives, 0}, {ages, 0}}},
	} {
		t.Run(root.name, func(t *testing.T) {
			x := &explorer{TB: t, seen: map[string]bool{}}
			start := time.Now()
			level := []visit{x.visit(root.path)}
			for depth := range *exploreDepth {
				var deeper []visit
				for _, v := range level {
					for _, s := range v.steps {
						if w := x.visit(append(slices.Clip(v.path), s)); w.steps != nil {
							deeper = append(deeper, w)
						}
					}
				}
				level = deeper
				t.Logf("depth %d: %d new states, %d in all, %d paths, %v", depth+1, len(level), len(x.seen), x.paths, time.Since(start))
			}
		})
	}
}

// step is one thing that happens.
type step struct {
	what what
	// which is the number of a node, or of a datagram on its way.
	which int
}

type what string

const (
	initiates what = "initiates"
	arrives   what = "arrives"
	lost      what = "is lost"
	copied    what = "arrives, and stays"
	advances  what = "advances to its timer"
	waits     what = "waits until an initiation may leave"
	ages      what = "waits until a session is to be renewed"
)

// explorer remembers where it was.
type explorer struct {
	testing.TB
	seen  map[string]bool // by their shape
	paths int
}

// visit is a state: how it is reached, and what can happen in it.
type visit struct {
	path  []step
	steps []step // nil when it was visited before
}

// pathTB is what a lab of an explorer tests with: it says on which path it was,
// and keeps no lab until the end of the test.
type pathTB struct {
	testing.TB
	path []step
}

func (p pathTB) Cleanup(func()) {}

func (p pathTB) Fatalf(format string, args ...any) {
	p.Helper()
	p.TB.Fatalf(p.text()+format, args...)
}

func (p pathTB) Errorf(format string, args ...any) { p.Fatalf(format, args...) }

func (p pathTB) text() string {
	var b strings.Builder
	for _, s := range p.path {
		fmt.Fprintf(&b, "%d %s; ", s.which, s.what)
	}
	return b.String()
}

// counting is a reader that gives numbers of 4 bytes in their order: indices
// that never come again, and jitters of so many nanoseconds.
type counting struct {
	n    uint32
	keys io.Reader
}

func (c *counting) Read(b []byte) (int, error) {
	if len(b) != 4 {
		return c.keys.Read(b)
	}
	c.n++
	binary.LittleEndian.PutUint32(b, c.n)
	return 4, nil
}

// crossroads is a lab on one path.
type crossroads struct {
	*lab
	stamps map[name]handshake.Timestamp // of initiations, by their sender and its index
}

// visit goes a path from its start and looks at where it ends.
func (x *explorer) visit(path []step) visit {
	x.paths++
	c := &crossroads{lab: newLab(pathTB{x.TB, path}, 1), stamps: map[name]handshake.Timestamp{}}
	c.quiet = true
	for n := range 2 {
		c.add(Config{Rand: &counting{keys: c.source(n + 1)}})
	}
	c.nodes[0].knows(c.nodes[1])
	c.nodes[1].knows(c.nodes[0])
	c.hold()
	hold := c.carry
	c.carry = func(d datagram) {
		c.stamp(d)
		hold(d)
	}
	for _, s := range path {
		c.do(s)
	}
	c.audit()
	for _, n := range c.nodes {
		c.checkSlots(n)
	}
	shape := c.shape()
	if x.seen[shape] {
		return visit{}
	}
	x.seen[shape] = true
	v := visit{path: path, steps: c.steps()}
	c.makePeace(slices.ContainsFunc(path, func(s step) bool { return s.what == lost }))
	return v
}

func (c *crossroads) other(n *node) *node { return c.nodes[2-n.number] }

// the is the one peer of n.
func (c *crossroads) the(n *node) *Peer { return n.peer(c.other(n)) }

// steps are what can happen. Also what does nothing does: an initiation that is
// not allowed, a message that is too late. To lose such a one, or to copy it,
// is nothing new. With a session nobody initiates before it could take the
// other side for dead.
func (c *crossroads) steps() (all []step) {
	timer, gate := never, never
	for _, n := range c.nodes {
		p := c.the(n)
		timer = min(timer, p.Deadline())
		if p.notBefore > c.now {
			gate = min(gate, p.notBefore)
		}
	}
	for i, n := range c.nodes {
		if k := c.the(n).current.Load(); k == nil || c.now-k.birth >= KeepaliveTimeout+RekeyTimeout {
			all = append(all, step{initiates, i})
		}
		// Two timers of about the same time run in any order.
		if d := c.the(n).Deadline(); d != never && d <= timer+time.Millisecond {
			all = append(all, step{advances, i})
		}
	}
	if gate < timer {
		all = append(all, step{waits, 0})
	}
	for i, d := range c.held {
		all = append(all, step{arrives, i})
		if c.alive(d) {
			all = append(all, step{lost, i}, step{copied, i})
		}
	}
	return all
}

func (c *crossroads) do(s step) {
	switch s.what {
	case initiates:
		n := c.nodes[s.which]
		p := c.the(n)
		p.lock.Lock()
		p.wantInitiation(n.time(), &n.out, false)
		p.unlock(&n.out)
		n.settle()
	case arrives:
		d := c.held[s.which]
		c.held = slices.Delete(c.held, s.which, s.which+1)
		c.hand(d)
	case lost:
		c.held = slices.Delete(c.held, s.which, s.which+1)
	case copied:
		c.hand(c.held[s.which])
	case advances:
		n := c.nodes[s.which]
		p := c.the(n)
		c.now = max(c.now, p.Deadline())
		n.timers[0].at = never
		p.Advance(n.time(), &n.out)
		n.settle()
	case waits:
		gate := never
		for _, n := range c.nodes {
			if at := c.the(n).notBefore; at > c.now {
				gate = min(gate, at)
			}
		}
		c.now = gate
	case ages:
		c.now += RekeyAfterTime
	}
}

// checkSlots looks at what the table of key slots can never lead to.
func (c *crossroads) checkSlots(n *node) {
	p := c.the(n)
	current := p.current.Load()
	if p.next != nil && p.next.initiator {
		c.Fatalf("node %d waits for the confirmation of a session that it initiated", n.number)
	}
	if current == nil && p.previous != nil {
		c.Fatalf("node %d has a previous session and no current one", n.number)
	}
	if p.previous != nil && (p.previous == current || p.previous == p.next) || current != nil && current == p.next {
		c.Fatalf("node %d has a session in two slots", n.number)
	}
}

// makePeace lets everything arrive from now on, and wants data to flow. When it
// does, each side sends with a session that the other has; and so they do at
// once if nothing was lost and neither still waits for a response.
func (c *crossroads) makePeace(lossy bool) {
	a, b := c.nodes[0], c.nodes[1]
	held := c.held
	c.carry, c.held = nil, nil
	for _, d := range held {
		c.hand(d)
	}
	c.run(c.now)
	if !lossy && c.the(a).timers.retransmit == never && c.the(b).timers.retransmit == never {
		c.expectMatch()
	}
	for end := c.now + simRecovery; a.delivered[b] == 0 || b.delivered[a] == 0; {
		if c.now > end {
			c.Fatalf("in a good network %d and %d packets arrived within %v", a.delivered[b], b.delivered[a], simRecovery)
		}
		a.send(b)
		b.send(a)
		c.run(c.now + time.Second)
	}
	c.expectMatch()
	c.audit()
}

// expectMatch looks at two nodes that can both send, and between which nothing
// is on its way.
func (c *crossroads) expectMatch() {
	for _, n := range c.nodes {
		k := c.the(n).SendKey(c.now)
		if k == nil || c.the(c.other(n)).SendKey(c.now) == nil {
			continue
		}
		theirs := c.other(n).engine.indices.find(k.remote).keypair
		if theirs == nil || theirs.remote != k.local {
			c.Fatalf("node %d sends with a session that the other does not have", n.number)
		}
	}
}
