package forward

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// errFull is what flows are refused with for which there is no room.
var errFull = errors.New("forward: too many connections")

// Serve carries a flow to its end, or refuses it. It returns when nothing is left of it, at the latest when ctx ends.
func (g *Gateway) Serve(ctx context.Context, f Flow) {
	defer survive(&g.stats.panics, g.Logger)
	begin := time.Now()
	traffic, err := g.carry(ctx, f)
	g.stats.up.Add(traffic.Up)
	g.stats.down.Add(traffic.Down)
	logger(g.Logger).Debug("forward: gateway", "network", f.Network(), "source", f.Source(), "target", f.Destination(),
		"up", traffic.Up, "down", traffic.Down, "took", time.Since(begin), "error", err)
}

func (g *Gateway) carry(ctx context.Context, f Flow) (Traffic, error) {
	if err := g.policy().check(f.Destination()); err != nil {
		g.stats.denied.Add(1)
		f.Refuse(err)
		return Traffic{}, err
	}
	if f.Network() == "udp" {
		return g.carryUDP(ctx, f)
	}
	return g.carryTCP(ctx, f)
}

func (g *Gateway) policy() policy { return policy{g.Allow, g.Protected} }

func (g *Gateway) carryTCP(ctx context.Context, f Flow) (Traffic, error) {
	source := f.Source().Addr()
	places, perSource := places(g.MaxConns, g.MaxConnsPerSource, defaultConns)
	if !g.conns.enter(source, places, perSource) {
		g.stats.excess.Add(1)
		f.Refuse(errFull)
		return Traffic{}, errFull
	}
	defer g.conns.leave(source)
	client, target, err := g.join(ctx, f)
	if err != nil {
		return Traffic{}, err
	}
	return cmp.Or(g.Relay, &g.relay).Run(ctx, client, target)
}

func (g *Gateway) carryUDP(ctx context.Context, f Flow) (Traffic, error) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	places, perSource := places(g.MaxFlows, g.MaxFlowsPerSource, defaultFlows)
	place, evicted := g.flows.enter(f.Source().Addr(), end, places, perSource)
	defer g.flows.leave(place)
	if evicted {
		g.stats.evicted.Add(1)
	}
	client, target, err := g.join(ctx, f)
	if err != nil {
		return Traffic{}, err
	}
	d := &datagrams{
		client: client, target: target, place: place, buffers: &g.buffers,
		oneWay: limit(g.OneWayTimeout, defaultOneWay), twoWay: limit(g.TwoWayTimeout, defaultTwoWay),
	}
	err = d.run(ctx)
	if err != nil {
		g.stats.failed.Add(1)
		f.Refuse(err)
	}
	g.stats.dropped.Add(d.up.dropped + d.down.dropped)
	return Traffic{Up: d.up.bytes, Down: d.down.bytes}, err
}

// places are how many places there are, in all and for one source.
func places(all, perSource, standardAll int) (int, int) {
	all = standard(all, standardAll)
	return all, standard(perSource, max(all/4, 1))
}

// join dials the target and only then answers the peer.
func (g *Gateway) join(ctx context.Context, f Flow) (client, target net.Conn, err error) {
	target, err = g.dial(ctx, f)
	if err != nil {
		g.stats.failed.Add(1)
		f.Refuse(err)
		return nil, nil, err
	}
	client, err = f.Accept()
	if err != nil {
		g.stats.abandoned.Add(1)
		ResetOnClose(target)
		target.Close()
		return nil, nil, err
	}
	return client, target, nil
}

func (g *Gateway) dial(ctx context.Context, f Flow) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, limit(g.DialTimeout, defaultDial))
	defer cancel()
	return g.Dial(ctx, f.Network(), f.Destination().String())
}

// Echo carries an ICMP echo request from a peer to its target. It returns nil when that has answered, and an error around
// EACCES if it is not allowed, by the rules or by the system.
func (g *Gateway) Echo(ctx context.Context, source, target netip.Addr, data []byte) error {
	err := g.ping(ctx, target, data)
	logger(g.Logger).Debug("forward: gateway", "network", "icmp", "source", source, "target", target, "error", err)
	return err
}

func (g *Gateway) ping(ctx context.Context, target netip.Addr, data []byte) error {
	if err := g.policy().checkAddr(target); err != nil {
		g.stats.denied.Add(1)
		return err
	}
	if g.Ping == nil {
		g.stats.echoRefused.Add(1)
		return syscall.EACCES
	}
	ctx, cancel := context.WithTimeout(ctx, limit(g.PingTimeout, defaultPing))
	defer cancel()
	err := g.Ping(ctx, target, data)
	switch {
	case err == nil:
		g.stats.echoes.Add(1)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		g.stats.echoRefused.Add(1)
	default:
		g.stats.echoFailed.Add(1)
	}
	return err
}
