package engine

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/message"
)

var (
	simHours = flag.Float64("sim.hours", 200, "virtual hours for the simulator to run")
	simSeed  = flag.Int64("sim.seed", -1, "the one seed for the simulator to run")
)

const (
	// simSpan is how much of the time one seed gets.
	simSpan = 10 * time.Hour
	// simDelay is the most that a datagram takes.
	simDelay = 100 * time.Millisecond
	// simRecovery is how long after the end of all loss data flows again: a
	// dead peer is noticed after 15.333 s, and an initiation may then have to
	// wait for 5.333 s.
	simRecovery = KeepaliveTimeout + RekeyTimeout + maxJitter + RekeyTimeout + maxJitter
	// simLoadedRecovery is the same with nodes under load. Each side may want a
	// cookie of the other, for an initiation and for a response; that costs a
	// retransmission, and one more if the secret that the cookie was made with
	// ends before it comes.
	simLoadedRecovery = simRecovery + 4*(RekeyTimeout+maxJitter)
)

// TestSimulator runs two and more engines for 200 virtual hours, or as many as
// -sim.hours says, through changing weather and mishaps: loss of every kind,
// delay and so reorder, duplication, wall clocks that step, load, machines that
// sleep, move and restart. Every second, but for some storms, each node has a
// packet for each other. At each step the observer's invariants hold; when loss
// ends, data flows again within simRecovery; and from then on nothing is lost.
// An hour costs about 40 ms of one core with real Diffie-Hellman computations,
// so that 5,000 hours need no fake ones:
//
//	go test -run TestSimulator -sim.hours 5000 -timeout 1h -v
func TestSimulator(t *testing.T) {
	total := new(simTotal)
	t.Cleanup(func() { total.report(t) })
	if *simSeed >= 0 {
		simulate(t, uint64(*simSeed), simSpan, total)
		return
	}
	left := time.Duration(*simHours * float64(time.Hour))
	for seed := uint64(0); left > 0; seed++ {
		span := min(left, simSpan)
		left -= span
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			simulate(t, seed, span, total)
		})
	}
}

// simulation is a lab under changing weather.
type simulation struct {
	*lab
	rand    *rand.Rand
	flows   map[[2]*node]*flow // by sender and receiver
	weather weather
	era     int           // of the weather: it changed so often
	calmAt  time.Duration // when the present weather began, if it is calm
	gone    map[netip.AddrPort]bool
	latest  map[*node]time.Duration // the largest skew that each wall clock had
	did     simTotal
}

// simTotal is what simulations did, one or many.
type simTotal struct {
	mu          sync.Mutex // for many
	span        time.Duration
	storms      int
	mishaps     [mishaps]int
	worst       time.Duration // recovery
	worstLoaded time.Duration
	sent        [message.TypeData + 1]int
	events      [EventKeysZeroed + 1]int
	delivered   int
}

// flow is the data of one node for another.
type flow struct {
	offered, delivered int
	recovered          bool // since the last storm
	lost               int  // packets that had been by then
}

// weather is what the network does for a while.
type weather struct {
	loss      float64 // of all datagrams
	stunned   float64 // loss of initiations and responses alone
	deaf      *node   // nothing reaches it
	mute      *node   // nothing leaves it
	delay     time.Duration
	duplicate float64
	loaded    bool // some nodes are busy
	idle      bool // nobody has data, so that handshakes are given up
}

func simulate(t *testing.T, seed uint64, span time.Duration, total *simTotal) {
	s := &simulation{
		lab: newLab(t, seed), rand: rand.New(rand.NewPCG(seed, 1)), flows: map[[2]*node]*flow{},
		gone: map[netip.AddrPort]bool{}, latest: map[*node]time.Duration{},
	}
	s.quiet = true
	s.carry, s.onDelivery = s.datagram, s.delivered
	size := 2
	if seed%10 == 9 {
		size = 3
	}
	for range size {
		s.add(Config{})
	}
	for _, a := range s.nodes {
		for _, b := range s.nodes {
			if a != b {
				s.introduce(a, b)
				s.offer(a, b)
			}
		}
	}
	s.calm()
	s.stepClock()
	s.run(span)
	s.report(span, total)
}

// introduce makes b a peer of a.
func (s *simulation) introduce(a, b *node) {
	a.knows(b)
	if s.rand.IntN(4) == 0 {
		a.knows(b, keepalive(time.Duration(1+s.rand.IntN(30))*time.Second))
	}
}

// offer has data from a to b every second, unless nobody has.
func (s *simulation) offer(a, b *node) {
	f := new(flow)
	s.flows[[2]*node{a, b}] = f
	var again func()
	again = func() {
		if !a.asleep && !s.weather.idle {
			f.offered++
			a.send(b)
		}
		s.at(s.now+time.Second, again)
	}
	s.at(s.upTo(time.Second), again)
}

// datagram is the network.
func (s *simulation) datagram(d datagram) {
	w := &s.weather
	if s.hosts[d.to] == w.deaf || s.hosts[d.from] == w.mute || s.gone[d.to] || s.rand.Float64() < w.loss {
		return
	}
	if t, _ := message.Classify(d.msg); t != message.TypeData && s.rand.Float64() < w.stunned {
		return
	}
	s.arrive(d, s.delay())
	if s.rand.Float64() < w.duplicate {
		s.arrive(datagram{d.from, d.to, clone(d.msg)}, s.delay())
	}
}

func (s *simulation) delay() time.Duration {
	return time.Duration(s.rand.Int64N(int64(s.weather.delay) + 1))
}

// calm is weather without loss, long enough to recover in.
func (s *simulation) calm() {
	s.weather = weather{delay: s.upTo(simDelay), duplicate: s.rand.Float64() / 10}
	s.calmAt = s.now
	s.wake()
	s.changeLoad(false)
	for _, f := range s.flows {
		f.recovered = false
	}
	bound := simRecovery
	if s.weather.loaded {
		bound = simLoadedRecovery
	}
	s.at(s.now+bound, s.recovered)
	s.at(s.now+bound+s.upTo(10*time.Minute), s.storm)
}

// storm is weather with loss, a mishap, or both.
func (s *simulation) storm() {
	s.calmOver()
	s.did.storms++
	length := s.upTo(5 * time.Second)
	switch s.rand.IntN(12) {
	case 0:
		length = s.upTo(10 * time.Minute) // initiations cost the test most of its time
	case 1, 2:
		length = s.upTo(time.Minute)
	}
	w := &s.weather
	w.idle = s.rand.IntN(4) == 0
	happened := s.mishap(&length)
	switch s.rand.IntN(6) {
	case 0:
		w.loss = 1
	case 1:
		w.stunned = s.rand.Float64()
	case 2:
		w.deaf = s.nodes[s.rand.IntN(len(s.nodes))]
	case 3:
		w.mute = s.nodes[s.rand.IntN(len(s.nodes))]
	default:
		if !happened {
			w.loss = s.rand.Float64()
		}
	}
	s.changeLoad(true)
	s.at(s.now+length, s.calm)
}

// stepClock steps the wall clock of a node, about every ten minutes.
func (s *simulation) stepClock() {
	by := s.upTo(2*time.Hour) - time.Hour
	if s.rand.IntN(10) == 0 {
		by *= 24 * 365 * 10
	}
	n := s.nodes[s.rand.IntN(len(s.nodes))]
	n.skew += by
	s.latest[n] = max(s.latest[n], n.skew)
	s.audit()
	s.at(s.now+s.upTo(20*time.Minute), s.stepClock)
}

func (s *simulation) upTo(d time.Duration) time.Duration {
	return time.Duration(s.rand.Int64N(int64(d)))
}

// delivered counts a packet. One that arrives in calm weather and left in it
// shows that its flow has recovered.
func (s *simulation) delivered(from, to *node) {
	f := s.flows[[2]*node{from, to}]
	f.delivered++
	if f.recovered || s.now < s.calmAt+simDelay {
		return
	}
	f.recovered = true
	if s.weather.loaded {
		s.did.worstLoaded = max(s.did.worstLoaded, s.now-s.calmAt)
	} else {
		s.did.worst = max(s.did.worst, s.now-s.calmAt)
	}
}

// recovered looks at what must have recovered by now.
func (s *simulation) recovered() {
	for way, f := range s.flows {
		if !f.recovered {
			s.Fatalf("at %v: loss ended at %v, and no packet went from node %d to node %d since",
				s.now, s.calmAt, way[0].number, way[1].number)
		}
		f.lost = f.offered - f.delivered
	}
}

// calmOver looks at calm weather when it ends: who had recovered has lost
// nothing since, and knows where the others are. One packet may still be on its
// way, and another may have been when the table of key slots let its session
// go.
func (s *simulation) calmOver() {
	for way, f := range s.flows {
		if lost := f.offered - f.delivered - f.lost; lost > 2 {
			s.Fatalf("at %v: in calm weather since %v node %d lost %d packets for node %d",
				s.now, s.calmAt, way[0].number, lost, way[1].number)
		}
		way[1].expectEndpoint(way[0], Endpoint{Addr: way[0].addr})
	}
}

// report says what the simulation did.
func (s *simulation) report(span time.Duration, total *simTotal) {
	offered := 0
	for _, f := range s.flows {
		offered += f.offered
		s.did.delivered += f.delivered
	}
	if s.did.delivered < offered/2 {
		s.Errorf("%d of %d packets delivered", s.did.delivered, offered)
	}
	s.did.span, s.did.sent, s.did.events = span, s.watch.sent, s.watch.events
	total.add(&s.did)
}

// add puts what one did to what all did.
func (t *simTotal) add(one *simTotal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.span += one.span
	t.storms += one.storms
	t.delivered += one.delivered
	t.worst = max(t.worst, one.worst)
	t.worstLoaded = max(t.worstLoaded, one.worstLoaded)
	for i, n := range one.mishaps {
		t.mishaps[i] += n
	}
	for i, n := range one.sent {
		t.sent[i] += n
	}
	for i, n := range one.events {
		t.events[i] += n
	}
}

func (t *simTotal) report(l testing.TB) {
	l.Logf("%v with %d storms, %d sleeps, %d moves, %d restarts and %d reboots", t.span, t.storms,
		t.mishaps[sleeps], t.mishaps[moves], t.mishaps[restarts], t.mishaps[reboots])
	l.Logf("%d initiations, %d responses, %d cookie replies, %d data messages; %d handshakes, %d times given up, %d packets delivered",
		t.sent[message.TypeInitiation], t.sent[message.TypeResponse], t.sent[message.TypeCookieReply], t.sent[message.TypeData],
		t.events[EventHandshake], t.events[EventGaveUp], t.delivered)
	l.Logf("slowest recovery %v of %v, under load %v of %v", t.worst, simRecovery, t.worstLoaded, simLoadedRecovery)
	if t.span < 100*time.Hour {
		return
	}
	if t.sent[message.TypeCookieReply] == 0 || t.mishaps[sleeps]*t.mishaps[moves]*t.mishaps[restarts]*t.mishaps[reboots] == 0 ||
		t.events[EventGaveUp] == 0 {
		l.Error("load, giving up or some kind of mishap did not come up")
	}
}
