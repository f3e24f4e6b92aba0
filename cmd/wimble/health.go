package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/wireguard/engine"
)

// answerTime is what a peer gets to answer: enough for an initiation that is lost and the next one, Rekey-Timeout later.
const answerTime = engine.RekeyTimeout + time.Second

// ready reports whether the tunnel can be used, and if not, why. One that calls nobody always can; another needs a peer
// that has answered, and that does not leave a call unanswered now. Nobody calls an idle peer: see probe.
func (t *tunnel) ready() (ok bool, reason string) {
	called := t.called()
	for _, p := range called {
		c := t.greeter.call(p.PublicKey)
		silent := time.Since(c.begun)
		switch {
		case c.answered.IsZero():
			reason = fmt.Sprintf("tunnel %s: no handshake with %s yet", t.Name, p.Endpoint)
		case !c.begun.IsZero() && silent > answerTime:
			reason = fmt.Sprintf("tunnel %s: no answer from %s for %s", t.Name, p.Endpoint, short(silent))
		default:
			return true, ""
		}
	}
	return len(called) == 0, reason
}

// probe lets every tunnel probe.
func (s *session) probe(ctx context.Context) {
	var tunnels sync.WaitGroup
	for _, t := range s.tunnels {
		tunnels.Go(func() { t.probe(ctx) })
	}
	tunnels.Wait()
}

// probe calls the peers whose session has ended, as after a long silence, and waits for an answer of one of the tunnel's.
func (t *tunnel) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	called := t.called()
	if len(called) == 0 || t.fresh() {
		return
	}
	for _, p := range called {
		// One that never answered is being called.
		if p.PersistentKeepalive == 0 && !t.greeter.call(p.PublicKey).answered.IsZero() {
			setKeepalive(t.net.Device(), p.PublicKey, greetInterval)
			defer setKeepalive(t.net.Device(), p.PublicKey, 0)
		}
	}
	_ = t.await(ctx)
}

// fresh reports whether a session is young enough to be used: one with a peer that we call, or, if there is no such peer,
// with any.
func (t *tunnel) fresh() bool {
	peers := t.called()
	if len(peers) == 0 {
		peers = t.Peers
	}
	return slices.ContainsFunc(peers, func(p config.Peer) bool {
		return time.Since(t.greeter.call(p.PublicKey).answered) < engine.RejectAfterTime
	})
}

// await waits until the tunnel has a session that is young enough to be used.
func (t *tunnel) await(ctx context.Context) error {
	for {
		next := t.greeter.handshake()
		if t.fresh() {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
