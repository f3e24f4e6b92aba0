package wireguard

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// keepalivePeers are many peers that a Device greets as soon as it is up.
func keepalivePeers(n int) (peers []PeerChange) {
	all := newCrowd(n)
	for i := range all {
		peers = append(peers, all.peer(i, i, 25*time.Second))
	}
	return peers
}

// TestWorkerEnds: initiations to hundreds of peers wait when the Device ends.
// It does not make them first.
func TestWorkerEnds(t *testing.T) {
	const peers = 300
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var made atomic.Int64
	sides := pairOf(t, newMemNet(), &testClock{start: time.Now()}, func(_ int, c *Config) {
		c.Peers = keepalivePeers(peers)
		c.OnEvent = func(e engine.Event) {
			if e.Kind == engine.EventInitiation {
				made.Add(1)
				cancel()
			}
		}
	})
	if err := sides[0].Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
	// Of several things to do the worker picks one at random.
	if n := made.Load(); n == 0 || n > 60 {
		t.Errorf("%d initiations were made, want the first and a few at most", n)
	}
}

// TestWorkerIsFair: a peer's handshake is not put off until those with hundreds
// of others were begun.
func TestWorkerIsFair(t *testing.T) {
	const peers = 300
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		clock := &testClock{start: time.Now()}
		var begun, answered atomic.Int64
		sides := pairOf(t, n, clock, func(i int, c *Config) {
			if i == 0 {
				c.Peers = append(c.Peers, keepalivePeers(peers)...)
			}
		})
		a := sides[0]
		p := listen(t, n, newSpeaker(t, sides[1].private, a.private.Public(), clock.now), sides[1].outer, a.outer)
		initiation := p.initiation()
		n.setTap(func(_, to netip.AddrPort, msg []byte) [][]byte {
			switch kind, _ := message.Classify(msg); {
			case kind == message.TypeResponse:
				answered.Store(begun.Load())
			case begun.Add(1) == 1:
				n.inject(p.at, p.to, initiation)
				time.Sleep(time.Millisecond) // until it waits as well
			}
			return [][]byte{msg}
		})
		run(t, a)
		<-a.Ready()
		time.Sleep(time.Second)
		if behind := answered.Load(); behind == 0 || behind > 60 || begun.Load() < peers {
			t.Errorf("answered behind %d of %d initiations, want soon", behind, begun.Load())
		}
	})
}
