package wireguard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

const (
	// unansweredBeforeLookup is how many initiations go unanswered before the
	// address is doubted. A roamed address gets as many tries as any other.
	unansweredBeforeLookup = 3
	// answerGrace is how long an initiation is given before it counts as
	// unanswered; the next one leaves after Rekey-Timeout.
	answerGrace = engine.RekeyTimeout / 2
	// A name that was looked up is not looked up again for lookupPause, which
	// doubles up to maxLookupPause while nothing answers.
	lookupPause    = 10 * time.Second
	maxLookupPause = 60 * time.Second
	// A name that did not resolve is tried again after retryPause, which
	// doubles up to maxLookupPause.
	retryPause    = time.Second
	lookupTimeout = 10 * time.Second
)

const never = time.Duration(1<<63 - 1)

// endpoints are the peers whose endpoint is a name. The name stays a name: it
// is looked up at the start and whenever its address does not answer, and its
// addresses are tried in turn. Where an authenticated packet comes from always
// wins: a session that answers is never touched.
type endpoints struct {
	device  *Device
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)

	mu    sync.Mutex
	named map[key.Public]*namedEndpoint // guarded by mu
}

// namedEndpoint is one name. Its fields but host and port, which never change,
// are guarded by endpoints.mu.
type namedEndpoint struct {
	host      string
	port      uint16
	addrs     []netip.AddrPort
	due       time.Duration // when the address is to be changed, or never
	lookup    time.Duration // the earliest time of the next lookup
	pause     time.Duration // after that lookup
	resolving bool          // a task is at it
	failed    bool          // the last lookup found nothing, and that was logged
}

func (e *endpoints) init(resolve func(context.Context, string) ([]netip.Addr, error), d *Device) {
	e.device, e.resolve, e.named = d, resolve, map[key.Public]*namedEndpoint{}
	if e.resolve == nil {
		e.resolve = lookupHost
	}
}

// lookupHost is the default of Config.Resolve.
func lookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	r := net.Resolver{PreferGo: true}
	return r.LookupNetIP(ctx, "ip", host)
}

// apply follows a change of the configuration.
func (e *endpoints) apply(c Change) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.ReplacePeers {
		keep := map[key.Public]*namedEndpoint{}
		for i := range c.Peers {
			k := c.Peers[i].PublicKey
			if n := e.named[k]; n != nil {
				keep[k] = n
			}
		}
		e.named = keep
	}
	for i := range c.Peers {
		p := &c.Peers[i]
		host, port, err := splitEndpoint(p.EndpointName)
		switch old := e.named[p.PublicKey]; {
		case p.Remove || p.Endpoint != nil:
			delete(e.named, p.PublicKey)
		case p.EndpointName == "" || err != nil || e.device.engine.Peer(p.PublicKey) == nil:
		case old != nil && old.host == host && old.port == port:
		default:
			e.named[p.PublicKey] = &namedEndpoint{host: host, port: port}
		}
	}
	e.device.timers.poke()
}

// splitEndpoint takes "name:port" apart.
func splitEndpoint(s string) (host string, port uint16, err error) {
	host, p, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err == nil && (n == 0 || host == "") {
		err = errors.New("wireguard: an endpoint needs a host and a port")
	}
	return host, uint16(n), err
}

// event watches handshakes: unanswered ones cast doubt on the address.
func (e *endpoints) event(v engine.Event) {
	if v.Kind != engine.EventInitiation && v.Kind != engine.EventHandshake {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.named[v.Peer.Public()]
	switch {
	case n == nil:
	case v.Kind == engine.EventHandshake:
		n.due, n.pause = never, lookupPause
	case v.Attempt >= unansweredBeforeLookup && n.due == never:
		n.due = e.device.clock().Boot + answerGrace
		e.device.timers.poke()
	}
}

// tick starts a task for each name whose address is to be changed, and returns
// when the next one is.
func (e *endpoints) tick(ctx context.Context, now time.Duration, tasks *sync.WaitGroup) (next time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	next = never
	for k, n := range e.named {
		switch {
		case n.resolving:
		case n.due > now:
			next = min(next, n.due)
		default:
			n.resolving = true
			stale := n.lookup <= now
			tasks.Go(func() {
				if stale {
					e.refresh(ctx, k, n)
				}
				e.done(n)
				e.advance(k)
			})
		}
	}
	return next
}

// refresh looks a name up.
func (e *endpoints) refresh(ctx context.Context, k key.Public, n *namedEndpoint) {
	lookup, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := e.resolve(lookup, n.host)
	if err == nil && len(addrs) == 0 {
		err = errors.New("no addresses")
	}
	if ctx.Err() != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.device.clock().Boot
	if err != nil {
		n.pause = min(max(2*n.pause, retryPause), maxLookupPause)
		n.lookup = now + n.pause
		if !n.failed {
			n.failed = true
			e.device.log.Warn("the endpoint's name does not resolve; trying again until it does",
				"peer", k.Short(), "error", err)
		}
		return
	}
	if n.failed || n.pause == 0 {
		n.failed, n.pause = false, lookupPause
	}
	n.lookup = now + n.pause
	n.pause = min(2*n.pause, maxLookupPause)
	n.addrs = nil // advance may still read the old ones
	for _, a := range addrs {
		n.addrs = append(n.addrs, netip.AddrPortFrom(a.Unmap(), n.port))
	}
}

// done ends a task. A name without addresses is due again with its next lookup.
func (e *endpoints) done(n *namedEndpoint) {
	e.mu.Lock()
	n.resolving, n.due = false, never
	if len(n.addrs) == 0 {
		n.due = n.lookup
	}
	e.mu.Unlock()
	e.device.timers.poke()
}

// count is how many addresses a peer's name has.
func (e *endpoints) count(k key.Public) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := e.named[k]; n != nil {
		return len(n.addrs)
	}
	return 0
}

// advance gives the peer the address behind its present one, or the first
// after the last and after one that is none of the name's.
func (e *endpoints) advance(k key.Public) (netip.AddrPort, bool) {
	p := e.device.engine.Peer(k)
	e.mu.Lock()
	var addrs []netip.AddrPort
	if n := e.named[k]; n != nil {
		addrs = n.addrs
	}
	e.mu.Unlock()
	if p == nil || len(addrs) == 0 {
		return netip.AddrPort{}, false
	}
	next := 0
	if present, ok := p.Endpoint(); ok {
		next = (slices.Index(addrs, present.Addr) + 1) % len(addrs)
	}
	out := e.device.output()
	p.TryEndpoint(e.device.clock(), addrs[next], out)
	e.device.finish(out)
	return addrs[next], true
}
