package main

import (
	"context"
	"fmt"
	"time"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/wireguard"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// patience is how long a handshake may take before a person is told why it may not come.
const patience = 5 * time.Second

// reporter tells people what becomes of a session.
type reporter struct {
	*session
	device  *wireguard.Device
	greeter *greeter
	silent  map[key.Public]config.Peer // those we call and that were not met
	late    *time.Timer
}

func newReporter(s *session, d *wireguard.Device, g *greeter) *reporter {
	r := &reporter{session: s, device: d, greeter: g, silent: map[key.Public]config.Peer{}, late: time.NewTimer(patience)}
	for _, p := range s.tunnel.Peers {
		if p.Endpoint != "" {
			r.silent[p.PublicKey] = p
		}
	}
	return r
}

// run reports until ctx ends: first on the tunnel, then on the proxy, then on what else happens.
func (r *reporter) run(ctx context.Context) error {
	defer r.late.Stop()
	if len(r.silent) == 0 {
		r.console.say("tunnel %s: no peer has an Endpoint to call; waits for them on UDP port %d (our public key %v)",
			r.tunnel.Name, r.device.ListenPort(), r.tunnel.PrivateKey.Public())
	} else if !r.next(ctx) {
		return nil
	}
	r.sayProxies()
	if r.ready != nil {
		return r.ready(ctx)
	}
	for r.next(ctx) {
	}
	return nil
}

// next waits for something to tell, and tells it. It returns false when ctx has ended.
func (r *reporter) next(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case m := <-r.greeter.met:
		r.sayMet(m)
		if p, called := r.silent[m.peer]; called {
			calm(r.device, p)
			delete(r.silent, m.peer)
		}
	case <-r.late.C:
		r.saySilent()
	}
	return true
}

func (r *reporter) sayMet(m meeting) {
	how := "begun by the peer"
	if m.took > 0 {
		how = "in " + short(m.took)
	}
	r.console.say("tunnel %s: handshake with %v %s (our public key %s)",
		r.tunnel.Name, m.endpoint, how, r.tunnel.PrivateKey.Public().Short())
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
func (r *reporter) saySilent() {
	our := r.tunnel.PrivateKey.Public()
	for _, now := range r.device.Snapshot().Peers {
		p, silent := r.silent[now.PublicKey]
		switch {
		case !silent:
		case !now.Endpoint.IsValid():
			r.console.say("tunnel %s: no address for %s yet, still trying; check Endpoint in %s and the name servers of this host (our public key %v)",
				r.tunnel.Name, p.Endpoint, r.place, our)
		default:
			r.console.say("tunnel %s: no handshake with %s in %.0f s, still trying; the usual causes: Endpoint or PublicKey in %s is not the server's, a firewall drops UDP on the way, or the server does not have our public key: %v",
				r.tunnel.Name, p.Endpoint, patience.Seconds(), r.place, our)
		}
	}
}

func (r *reporter) sayProxies() {
	for _, ln := range r.listeners {
		r.console.say("proxy  socks5 on %v      try: curl -x socks5h://%v %s", ln.Addr(), ln.Addr(), r.target)
	}
	if r.remark != "" {
		r.console.say("note   %s", r.remark)
	}
}
