package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// patience is how long a handshake may take before a person is told why it may not come.
const patience = 5 * time.Second

// reporter tells people what becomes of a session.
type reporter struct {
	*session
	silent map[*tunnel]map[key.Public]config.Peer // those we call and that were not met
	late   *time.Timer
	waited bool // the timer has run out
}

func newReporter(s *session) *reporter {
	r := &reporter{session: s, silent: make(map[*tunnel]map[key.Public]config.Peer), late: time.NewTimer(patience)}
	for _, t := range s.tunnels {
		r.silent[t] = make(map[key.Public]config.Peer)
		for _, p := range t.called() {
			r.silent[t][p.PublicKey] = p
		}
	}
	return r
}

// run reports until ctx ends: first on the tunnels, then on what listens, then on what else happens.
func (r *reporter) run(ctx context.Context) {
	defer r.late.Stop()
	for _, t := range r.tunnels {
		if len(t.called()) == 0 {
			r.sayWaits(t)
		}
	}
	for r.unsettled() {
		if !r.next(ctx) {
			return
		}
	}
	r.sayServices()
	close(r.said)
	for r.next(ctx) {
	}
}

// unsettled reports whether a tunnel may still come up soon.
func (r *reporter) unsettled() bool {
	for t, silent := range r.silent {
		if called := len(t.called()); called > 0 && len(silent) == called && !r.waited {
			return true
		}
	}
	return false
}

// next waits for something to tell, and tells it. It returns false when ctx has ended.
func (r *reporter) next(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case m := <-r.met:
		r.sayMet(m)
		if p, called := r.silent[m.tunnel][m.peer]; called {
			setKeepalive(m.tunnel.net.Device(), p.PublicKey, p.PersistentKeepalive)
			delete(r.silent[m.tunnel], m.peer)
		}
	case <-r.late.C:
		r.waited = true
		for _, t := range r.tunnels {
			r.saySilent(t)
		}
	}
	return true
}

func (r *reporter) sayWaits(t *tunnel) {
	if !r.quiet {
		r.console.say("tunnel %s: no peer has an Endpoint to call; waits for them on UDP port %d (our public key %v)",
			t.Name, t.net.Device().ListenPort(), t.PrivateKey.Public())
	}
}

func (r *reporter) sayMet(m meeting) {
	if r.quiet {
		return
	}
	how := "begun by the peer"
	if m.took > 0 {
		how = "in " + short(m.took)
	}
	r.console.say("tunnel %s: handshake with %v %s (our public key %s)",
		m.tunnel.Name, m.endpoint, how, m.tunnel.PrivateKey.Public().Short())
}

// short is a duration as people say it.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// saySilent says for each peer that did not answer in time why that may be.
func (r *reporter) saySilent(t *tunnel) {
	our, place := t.PrivateKey.Public(), r.tunnelPlace(t.Name)
	for _, now := range t.net.Device().Snapshot().Peers {
		p, silent := r.silent[t][now.PublicKey]
		switch {
		case !silent:
		case !now.Endpoint.IsValid():
			r.console.say("tunnel %s: no address for %s yet, still trying; check Endpoint in %s and the name servers of this host (our public key %v)",
				t.Name, p.Endpoint, place, our)
		default:
			r.console.say("tunnel %s: no handshake with %s in %.0f s, still trying; the usual causes: Endpoint or PublicKey in %s is not the server's, a firewall drops UDP on the way, or the server does not have our public key: %v",
				t.Name, p.Endpoint, patience.Seconds(), place, our)
		}
	}
}

// sayServices says where to connect, and what to try first.
func (r *reporter) sayServices() {
	if r.quiet {
		return
	}
	remarks := []string{r.remark}
	for i, service := range r.services {
		line := fmt.Sprintf("%-6s %s on %v", service.kind, service.what, service.ln.Addr())
		if len(r.tunnels) > 1 {
			line += " into " + service.tunnel
		}
		if i < len(r.Proxies) {
			target, remark := r.target, ""
			if target == "" {
				target, remark = suggest(r.tunnel(service.tunnel).Tunnel, r.tunnelPlace(service.tunnel))
			}
			line += "      " + try(r.Proxies[i], service.ln.Addr(), target)
			remarks = append(remarks, remark)
		}
		r.console.say("%s", line)
	}
	if r.gateway != nil {
		r.console.say("gateway for the peers of %s to %s", r.Gateway.Tunnel, cmp.Or(rulesText(r.Gateway.Allow), "nothing"))
	}
	r.sayRemarks(remarks)
}

// sayRemarks says each remark once.
func (r *reporter) sayRemarks(remarks []string) {
	for i, remark := range remarks {
		if remark != "" && !slices.Contains(remarks[:i], remark) {
			r.console.say("note   %s", remark)
		}
	}
}
