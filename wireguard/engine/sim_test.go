package engine

import (
	"flag"
	"fmt"
	"math/rand/v2"
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
)

// TestSimulator runs two and more engines for 200 virtual hours, or as many as
// -sim.hours says, through changing weather: loss of every kind, delay and so
// reorder, duplication, wall clocks that step. Every second each node has a
// packet for each other. At each step the observer's invariants hold; when loss
// ends, data flows again within simRecovery; and from then on nothing is lost.
func TestSimulator(t *testing.T) {
	if *simSeed >= 0 {
		simulate(t, uint64(*simSeed), simSpan)
		return
	}
	left := time.Duration(*simHours * float64(time.Hour))
	for seed := uint64(0); left > 0; seed++ {
		span := min(left, simSpan)
		left -= span
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			simulate(t, seed, span)
		})
	}
}

// simulation is a lab under changing weather.
type simulation struct {
	*lab
	rand    *rand.Rand
	flows   map[[2]*node]*flow // by sender and receiver
	weather weather
	calmAt  time.Duration // when the present weather began, if it is calm
	storms  int
	worst   time.Duration // recovery
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
}

func simulate(t *testing.T, seed uint64, span time.Duration) {
	s := &simulation{lab: newLab(t, seed), rand: rand.New(rand.NewPCG(seed, 1)), flows: map[[2]*node]*flow{}}
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
			}
		}
	}
	s.calm()
	s.stepClock()
	s.run(span)
	s.report(span)
}

// introduce makes b a peer of a, and offers data from a to b every second.
func (s *simulation) introduce(a, b *node) {
	a.knows(b)
	if s.rand.IntN(4) == 0 {
		a.knows(b, keepalive(time.Duration(1+s.rand.IntN(30))*time.Second))
	}
	f := new(flow)
	s.flows[[2]*node{a, b}] = f
	var offer func()
	offer = func() {
		f.offered++
		a.send(b)
		s.at(s.now+time.Second, offer)
	}
	s.at(time.Duration(s.rand.Int64N(int64(time.Second))), offer)
}

// datagram is the network.
func (s *simulation) datagram(d datagram) {
	w := &s.weather
	if s.hosts[d.to] == w.deaf || s.hosts[d.from] == w.mute || s.rand.Float64() < w.loss {
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
	s.weather = weather{delay: time.Duration(s.rand.Int64N(int64(simDelay))), duplicate: s.rand.Float64() / 10}
	s.calmAt = s.now
	for _, f := range s.flows {
		f.recovered = false
	}
	s.at(s.now+simRecovery, s.recovered)
	s.at(s.now+simRecovery+s.upTo(10*time.Minute), s.storm)
}

// storm is weather with loss.
func (s *simulation) storm() {
	s.calmOver()
	s.storms++
	w := &s.weather
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
		w.loss = s.rand.Float64()
	}
	length := s.upTo(5 * time.Second)
	switch s.rand.IntN(12) {
	case 0:
		length = s.upTo(10 * time.Minute) // initiations cost the test most of its time
	case 1, 2:
		length = s.upTo(time.Minute)
	}
	s.at(s.now+length, s.calm)
}

// stepClock steps the wall clock of a node, about every ten minutes.
func (s *simulation) stepClock() {
	by := s.upTo(2*time.Hour) - time.Hour
	if s.rand.IntN(10) == 0 {
		by *= 24 * 365 * 10
	}
	s.nodes[s.rand.IntN(len(s.nodes))].skew += by
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
	if !f.recovered && s.now >= s.calmAt+simDelay {
		f.recovered = true
		s.worst = max(s.worst, s.now-s.calmAt)
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
// nothing since. One packet may still be on its way, and another may have been
// when the table of key slots let its session go.
func (s *simulation) calmOver() {
	for way, f := range s.flows {
		if lost := f.offered - f.delivered - f.lost; lost > 2 {
			s.Fatalf("at %v: in calm weather since %v node %d lost %d packets for node %d",
				s.now, s.calmAt, way[0].number, lost, way[1].number)
		}
	}
}

// report says what the simulation did.
func (s *simulation) report(span time.Duration) {
	offered, delivered := 0, 0
	for _, f := range s.flows {
		offered += f.offered
		delivered += f.delivered
	}
	if delivered < offered/2 {
		s.Errorf("%d of %d packets delivered", delivered, offered)
	}
	s.Logf("%v with %d storms: slowest recovery %v, %d of %d packets delivered", span, s.storms, s.worst, delivered, offered)
}
