package engine

import (
	"net/netip"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// TestApplyUnknownPeers: a change that is for existing peers only, and the
// removal of one that is none, do nothing.
func TestApplyUnknownPeers(t *testing.T) {
	l, a, b := pair(t, 1)
	c := l.add(Config{})
	a.knows(c, func(p *PeerChange) { p.UpdateOnly = true })
	a.knows(c, func(p *PeerChange) { p.Remove = true })
	if a.engine.Peer(c.key.Public()) != nil || a.engine.Route(c.ip4()) != nil {
		t.Error("a peer was made")
	}
	a.knows(b, func(p *PeerChange) { p.UpdateOnly, p.AllowedIPs = true, []netip.Prefix{netip.PrefixFrom(c.ip4(), 32)} })
	if a.engine.Route(c.ip4()) != a.peer(b) {
		t.Error("an existing peer was not changed")
	}
	a.expect("silence")
}

// TestApplyKeepsSessions: nothing but the private key, and removal, ends one.
func TestApplyKeepsSessions(t *testing.T) {
	l, a, b := met(t, 1)
	session := a.peer(b).current.Load()
	moved := elsewhere
	for _, c := range []Change{
		{},
		{Peers: []PeerChange{{PublicKey: b.key.Public()}}},
		{Peers: []PeerChange{a.change(b, preshared(3))}},
		{Peers: []PeerChange{a.change(b, keepalive(time.Minute))}},
		{Peers: []PeerChange{a.change(b, func(p *PeerChange) { p.Endpoint = &moved })}},
		{Peers: []PeerChange{a.change(b, func(p *PeerChange) { p.ReplaceAllowedIPs = true })}},
		{ReplacePeers: true, Peers: []PeerChange{a.change(b)}},
	} {
		a.apply(c)
		if a.peer(b).current.Load() != session {
			t.Fatalf("%+v ended the session", c)
		}
	}
	a.send(b)
	l.run(0)
	b.expectDelivered(a, 1)

	p := a.peer(b)
	a.apply(Change{ReplacePeers: true})
	if p.current.Load() != nil || a.engine.indices.size() != 0 || !p.preshared.IsZero() {
		t.Error("a removed peer has something left")
	}
	if p.Deadline() != never {
		t.Error("a removed peer has a deadline")
	}
	a.greetPeer(p)
	p.Advance(a.time(), &a.out)
	p.Initiate(a.time(), &a.out)
	a.settle()
	a.expectInitiations("a removed peer is silent")
}

// greetPeer is greet for a peer that may be gone.
func (n *node) greetPeer(p *Peer) {
	p.lock.Lock()
	p.sendKeepalive(n.time(), &n.out)
	p.unlock(&n.out)
	n.settle()
}

// TestApplyEndpoint: a configured address is where the next message goes; what
// was learned of the present one stays when it is given again.
func TestApplyEndpoint(t *testing.T) {
	l, a, b := met(t, 1)
	to := elsewhere
	a.knows(b, func(p *PeerChange) { p.Endpoint = &to })
	a.expectEndpoint(b, Endpoint{Addr: elsewhere})
	a.expect("a new address alone is no reason to send")
	a.send(b)
	if got := a.sent[len(a.sent)-1].to; got != elsewhere {
		t.Errorf("data went to %v", got)
	}
	b.greet(a)
	l.run(0)
	a.expectEndpoint(b, Endpoint{Addr: b.addr}) // it was heard there
}

// TestApplyFlushes: any change lets go what waits, if it may by now.
func TestApplyFlushes(t *testing.T) {
	l, a, b := pair(t, 1)
	a.send(b)
	l.carry = lose // all but the initiation, which is on its way
	l.run(time.Second)
	b.send(a)
	b.knows(a)
	b.expect("too soon after a response", "0s response")
	l.run(RekeyTimeout)
	b.knows(a)
	b.expect("not any more", "5s initiation")
}

// TestApplyWhileDown: nothing leaves before the engine is up.
func TestApplyWhileDown(t *testing.T) {
	l := newLab(t, 1)
	a, b := l.add(Config{}), l.add(Config{})
	b.knows(a)
	a.engine.Down()
	a.knows(b, keepalive(time.Second))
	own := a.key
	a.apply(Change{PrivateKey: &key.Private{}})
	a.apply(Change{PrivateKey: &own})
	b.send(a)
	l.run(3 * time.Second)
	a.expect("down is silent, also to who calls")
	a.expectDrops(DropRemoved, 1)
	a.restart()
	a.expect("up", "3s initiation")
}

// TestApplyInOrder: of two changes of one peer, or of one prefix, the later
// wins.
func TestApplyInOrder(t *testing.T) {
	r := newRoster(t)
	prefix := parsePrefixes([]string{"10.0.0.0/8"})
	r.apply(
		PeerChange{PublicKey: named("a"), AllowedIPs: prefix},
		PeerChange{PublicKey: named("b"), AllowedIPs: prefix},
		PeerChange{PublicKey: named("c"), AllowedIPs: prefix},
		PeerChange{PublicKey: named("c"), Remove: true},
	)
	r.expect("10.0.0.1", "")
	r.apply(
		PeerChange{PublicKey: named("c"), AllowedIPs: prefix},
		PeerChange{PublicKey: named("a"), AllowedIPs: prefix},
		PeerChange{PublicKey: named("a"), AllowedIPs: prefix, UpdateOnly: true},
	)
	r.expect("10.0.0.1", "a")
	if len(r.engine.Snapshot().Peers) != 3 {
		t.Errorf("peers %+v", r.engine.Snapshot().Peers)
	}
}

// TestRoute: no peer is an answer that comes at once, and is counted.
func TestRoute(t *testing.T) {
	r := newRoster(t)
	r.give("a", "10.0.0.0/8")
	if p := r.engine.Route(netip.MustParseAddr("192.0.2.1")); p != nil || r.engine.Drops()[DropRoute] != 1 {
		t.Error("an address of nobody was routed, or not counted")
	}
	p := r.engine.Route(netip.MustParseAddr("10.1.1.1"))
	if p == nil {
		t.Fatal("no peer")
	}
	if _, ok := p.Endpoint(); ok {
		t.Error("a peer without an endpoint has one")
	}
	if r.engine.Route(netip.Addr{}) != nil {
		t.Error("no address was routed")
	}
	if p := r.engine.Route(netip.MustParseAddr("fe80::1%eth0")); p != nil {
		t.Error("an address with a zone was routed")
	}
}

// TestRestart: down forgets what was under way, also that an initiation left a
// moment ago.
func TestRestart(t *testing.T) {
	l, a, b := met(t, 1)
	l.run(time.Second)
	a.restart()
	if a.engine.indices.size() != 0 || a.peer(b).SendKey(l.now) != nil || a.peer(b).Deadline() != never {
		t.Error("something is left of the session")
	}
	a.send(b)
	a.expect("at once", "1s initiation")
	l.run(l.now)
	b.expectDelivered(a, 1)
}
