package proxy

import (
	"container/list"
	"net/netip"
	"time"
)

const (
	// maxStrikes is how many wrong logins an address has; then it has to wait until one is forgiven.
	maxStrikes = 5
	// strikeTime is how long it takes until one is forgiven.
	strikeTime = 10 * time.Second
	// maxStruck limits the addresses that are remembered.
	maxStruck = 4096
)

// strikes counts the wrong logins of addresses, so that guesses take long. The zero value is ready.
type strikes struct {
	bySite map[netip.Addr]*list.Element
	byAge  list.List // of *struck, the one whose last strike is longest ago in front
}

// struck is an address that had wrong logins.
type struck struct {
	site     netip.Addr
	forgiven time.Time // when the last of its strikes will be
}

// out reports whether an address has to wait.
func (s *strikes) out(from netip.Addr) bool {
	e, ok := s.bySite[site(from)]
	return ok && time.Until(e.Value.(*struck).forgiven) > (maxStrikes-1)*strikeTime
}

// add counts a wrong login. If that makes too many addresses, the one that was quiet for longest is forgotten.
func (s *strikes) add(from netip.Addr) {
	now := time.Now()
	e, ok := s.bySite[site(from)]
	if !ok {
		if s.byAge.Len() >= maxStruck {
			oldest := s.byAge.Remove(s.byAge.Front()).(*struck)
			delete(s.bySite, oldest.site)
		}
		if s.bySite == nil {
			s.bySite = make(map[netip.Addr]*list.Element)
		}
		e = s.byAge.PushBack(&struck{site: site(from)})
		s.bySite[site(from)] = e
	}
	s.byAge.MoveToBack(e)
	if v := e.Value.(*struck); v.forgiven.Before(now) {
		v.forgiven = now.Add(strikeTime)
	} else {
		v.forgiven = v.forgiven.Add(strikeTime)
	}
}

// site is what counts as one address: of IPv6 the /64, as that much belongs to a single host.
func site(a netip.Addr) netip.Addr {
	if a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
