package engine

import (
	"net/netip"
	"time"
)

// What befalls a node of a simulation, apart from the weather.
const (
	sleeps   = iota // the machine is suspended until the storm is over
	moves           // its address changes, between IPv4 and IPv6 as well
	restarts        // the interface goes down and up
	reboots         // the process starts again, with the keys and nothing else
	mishaps         // how many kinds there are
)

// noticesSleep is how long a Device takes at most to see that it was suspended.
const noticesSleep = 5 * time.Second

// mishap lets something happen to one node, in half of all storms, and reports
// whether it does. Only one moves in a storm: two that move at once have lost
// each other, with any WireGuard.
func (s *simulation) mishap(length *time.Duration) bool {
	what := s.rand.IntN(2 * mishaps)
	if what >= mishaps {
		return false
	}
	s.did.mishaps[what]++
	n := s.nodes[s.rand.IntN(len(s.nodes))]
	when := s.now + s.upTo(*length)
	switch what {
	case sleeps:
		*length += s.upTo(10 * time.Minute)
		if s.rand.IntN(6) == 0 {
			*length += s.upTo(2 * time.Hour)
		}
		s.at(when, func() { n.asleep = true })
	case moves:
		for range 1 + s.rand.IntN(3) {
			s.at(when, func() { s.moveAway(n) })
			when = s.now + s.upTo(*length)
		}
	case restarts:
		s.at(when, n.restart)
	case reboots:
		s.at(when, func() { s.reboot(n) })
	}
	return true
}

// wake ends all sleep. Until the machine notices that it slept, it goes on with
// what it had.
func (s *simulation) wake() {
	for _, n := range s.nodes {
		if !n.asleep {
			continue
		}
		n.asleep = false
		s.at(s.now+s.upTo(2)*s.upTo(noticesSleep), func() {
			n.engine.Suspend(n.time(), &n.out)
			n.settle()
		})
	}
}

// moveAway gives a node a new address. The old one may go on leading to it, or
// its mapping is gone.
func (s *simulation) moveAway(n *node) {
	s.gone[n.addr] = s.rand.IntN(2) == 0
	id := len(s.hosts)
	addr := netip.AddrFrom4([4]byte{198, 18, byte(id >> 8), byte(id)})
	switch s.rand.IntN(3) {
	case 0:
		addr = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 14: byte(id >> 8), 15: byte(id)})
	case 1:
		addr = n.addr.Addr() // only the port changes
	}
	n.move(netip.AddrPortFrom(addr, uint16(1024+id)))
}

// reboot starts the node's process again. Its clock is right afterwards, which
// means that it does not go back behind what the others saw of it, and it finds
// where they are, as by their names.
func (s *simulation) reboot(n *node) {
	n.skew = s.latest[n]
	n.engine = New(Config{Rand: s.source(1000*s.did.mishaps[reboots] + n.number)})
	n.timers, n.wanted = nil, nil
	n.apply(Change{PrivateKey: &n.key})
	n.engine.Up(n.time(), &n.out)
	n.settle()
	for _, m := range s.nodes {
		if m != n {
			s.introduce(n, m)
		}
	}
}

// changeLoad makes nodes busy for as long as the weather lasts, or none. A
// storm may fill their backlog.
func (s *simulation) changeLoad(stormy bool) {
	s.era++
	s.weather.loaded = false
	for _, n := range s.nodes {
		n.backlog.Waiting = 0
		if s.rand.IntN(3) > 0 {
			continue
		}
		s.weather.loaded = true
		most := n.backlog.Limit
		if stormy {
			most++
		}
		s.work(n, most, s.era)
	}
}

// work makes n's backlog short and long in turn. A second without load is what
// makes the difference.
func (s *simulation) work(n *node, most, era int) {
	if era != s.era {
		return
	}
	load := n.backlog.Limit / loadFraction
	if n.backlog.Waiting < load && s.rand.IntN(4) > 0 {
		n.backlog.Waiting = load + s.rand.IntN(most-load)
	} else {
		n.backlog.Waiting = s.rand.IntN(load)
	}
	s.at(s.now+s.upTo(3*time.Second), func() { s.work(n, most, era) })
}
