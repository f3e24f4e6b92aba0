package main

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/forward"
	"github.com/wimble-proxy/wimble/netstack"
)

// gateway lets the peers of a tunnel reach the network of this host. Unlike the one of package forward it can be told to
// end, and then lets open connections finish.
type gateway struct {
	forward.Gateway
	grace time.Duration

	mu     sync.Mutex
	ending bool          // guarded by mu
	open   int           // guarded by mu; the TCP connections
	idle   chan struct{} // closed when it is ending and none is open
}

// newGateway makes the gateway of a configuration. The listeners of this program are not for peers.
func (a *app) newGateway(allow []config.Rule, listeners []net.Listener, grace time.Duration) *gateway {
	g := &gateway{grace: grace, idle: make(chan struct{})}
	for _, r := range allow {
		g.Allow = append(g.Allow, forward.Rule(r))
	}
	g.Dial, g.Ping, g.Logger = a.host.DialGateway, a.host.PingGateway, a.console.log
	for _, ln := range listeners {
		if address, err := netip.ParseAddrPort(ln.Addr().String()); err == nil {
			g.Protected = append(g.Protected, address)
		}
	}
	if cluster, err := netip.ParseAddr(os.Getenv("KUBERNETES_SERVICE_HOST")); err == nil {
		g.Protected = append(g.Protected, netip.AddrPortFrom(cluster, 0))
	}
	return g
}

// attach makes a tunnel's options those of a gateway.
func (g *gateway) attach(o *netstack.Options) {
	o.Accept, o.Echo = g.accept, g.Echo
}

// accept carries a flow, if it is not too late for new ones.
func (g *gateway) accept(ctx context.Context, f netstack.Flow) {
	if f.Network() != "tcp" {
		g.Serve(ctx, f)
		return
	}
	if !g.enter() {
		f.Refuse(nil)
		return
	}
	defer g.leave()
	g.Serve(ctx, f)
}

func (g *gateway) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ending {
		g.open++
	}
	return !g.ending
}

func (g *gateway) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open--; g.ending && g.open == 0 {
		close(g.idle)
	}
}

// serve returns after ctx ended, when the last connection has ended or the grace time is over.
func (g *gateway) serve(ctx context.Context) error {
	<-ctx.Done()
	g.mu.Lock()
	if g.ending = true; g.open == 0 {
		close(g.idle)
	}
	g.mu.Unlock()
	select {
	case <-g.idle:
	case <-time.After(max(g.grace, 0)):
	}
	return nil
}

// conns is how many connections are open.
func (g *gateway) conns() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

// rulesText are rules as people read them.
func rulesText(rules []config.Rule) string {
	texts := make([]string, len(rules))
	for i, r := range rules {
		texts[i] = r.String()
	}
	return strings.Join(texts, ", ")
}
