package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wimble-proxy/wimble/forward"
	"github.com/wimble-proxy/wimble/netstack"
	"github.com/wimble-proxy/wimble/proxy"
	"github.com/wimble-proxy/wimble/wireguard"
)

// drainTime is what open connections get when the program is told to end.
const drainTime = 30 * time.Second

// session is a plan that runs: its tunnels, and what listens for them.
type session struct {
	*app
	*plan
	// listenPacket opens the UDP sockets of the tunnels.
	listenPacket func(ctx context.Context, network, address string) (wireguard.PacketConn, error)
	// guard, if not nil, stands before each listener.
	guard func(net.Listener) net.Listener
	// grace is what open connections get at the end; negative is nothing.
	grace time.Duration
	// quiet says nothing but what is wrong.
	quiet bool
	// name is by which other processes ask for it; "" lets none ask.
	name string
	// target is what people are told to try; "" is something that their tunnel reaches.
	target string
	// remark is what people have to know; it may be empty.
	remark string
	// main, if not nil, is what the session is for: it runs when the listeners are up, and ends the session.
	main func(ctx context.Context) error
	// ending, if not nil, is called when the session is told to end and lets nobody in any more.
	ending func()

	// listeners are in the order of listenAll. If they were not opened before, open does it; it closes them if it fails.
	listeners []net.Listener

	tunnels  []*tunnel
	met      chan meeting  // the first with each peer of each tunnel
	said     chan struct{} // closed when people were told where to connect
	services []*service
	gateway  *gateway // nil for none
	control  *control // nil for none
}

// service is an open listener, and what serves it.
type service struct {
	ln     net.Listener
	kind   string // proxy or forward
	what   string // what it does, in words
	tunnel string
	serve  func(ctx context.Context, ln net.Listener) error
	conns  func() int // how many connections are open
}

func (a *app) newSession(p *plan) *session {
	peers := 0
	for _, t := range p.Tunnels {
		peers += len(t.Peers)
	}
	return &session{
		app: a, plan: p, name: p.Tunnels[0].Name, listenPacket: a.host.ListenPacket, grace: drainTime,
		met: make(chan meeting, peers), said: make(chan struct{}),
	}
}

// foreground runs the session until a signal comes or main ends, and drains it.
func (s *session) foreground(ctx context.Context) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	if err := s.open(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // we were told to end
		}
		return err
	}
	defer s.close()
	s.ending = func() {
		stop() // the next signal is meant in earnest
		if open := s.conns(); open > 0 {
			s.console.say("ending: open connections have %.0f s to finish (%d now); another Ctrl-C ends them", s.grace.Seconds(), open)
		}
	}
	err := s.serve(ctx)
	stop() // close may take a while, too
	s.console.log.Info("ended", "sockets", s.host)
	return err
}

// open brings everything up, or nothing: the listeners, the tunnels, and what joins them.
func (s *session) open(ctx context.Context) (err error) {
	if s.listeners == nil {
		if s.listeners, err = s.listenAll(ctx, s.plan); err != nil {
			return err
		}
	}
	defer func() {
		if err != nil {
			closeAll(s.listeners)
			s.close()
		}
	}()
	if s.Gateway != nil {
		s.gateway = s.newGateway(s.Gateway.Allow, s.listeners, s.grace)
	}
	for _, t := range s.Tunnels {
		o := netstack.Options{Logger: s.console.log, ListenPacket: s.listenPacket, Resolve: s.host.Resolve}
		if s.gateway != nil && s.Gateway.Tunnel == t.Name {
			s.gateway.attach(&o)
		}
		opened, err := openTunnel(ctx, t, s.tunnelPlace(t.Name), s.met, o)
		if err != nil {
			return err
		}
		s.tunnels = append(s.tunnels, opened)
	}
	if s.guard != nil {
		for i, ln := range s.listeners {
			s.listeners[i] = s.guard(ln)
		}
	}
	if err := s.join(); err != nil {
		return err
	}
	if s.name != "" {
		if s.control, err = s.openControl(ctx); err != nil {
			s.console.warn(fmt.Sprintf("there is no control socket, so wait and healthcheck can't ask this instance: %v", err))
		}
	}
	return nil
}

// join makes the servers of the listeners.
func (s *session) join() error {
	relay := new(forward.Relay) // one for all, so that its bound is one
	acceptor := &forward.Acceptor{GraceTimeout: s.grace, Logger: s.console.log}
	for i := range s.Proxies {
		p := &s.Proxies[i]
		server, err := proxy.New(proxy.Config{
			Dial: s.tunnel(p.Tunnel).net.DialContext, Protocols: protocols(p.Protocols), Users: users(p.Users),
			AllowClients: p.AllowClients, GraceTimeout: s.grace, Relay: relay, Logger: s.console.log,
		})
		if err != nil {
			return err
		}
		s.services = append(s.services, &service{
			ln: s.listeners[i], kind: "proxy", what: protocolNames(p.Protocols), tunnel: p.Tunnel, serve: server.Serve,
			conns: func() int { return server.Stats().Conns },
		})
	}
	for i := range s.Forwards {
		f := &s.Forwards[i]
		server := &forward.Forward{
			Dial: s.tunnel(f.Tunnel).net.DialContext, Target: f.Target, AllowClients: f.AllowClients,
			Acceptor: acceptor, Relay: relay, Logger: s.console.log,
		}
		s.services = append(s.services, &service{
			ln: s.listeners[len(s.Proxies)+i], kind: "forward", what: "to " + f.Target, tunnel: f.Tunnel, serve: server.Serve,
			conns: func() int { return server.Stats().Conns },
		})
	}
	return nil
}

// tunnel is the tunnel of that name, which package config has seen to.
func (s *session) tunnel(name string) *tunnel {
	for _, t := range s.tunnels {
		if t.Name == name {
			return t
		}
	}
	panic(fmt.Sprintf("no tunnel %q in a checked configuration", name))
}

// serve serves what is open until told or main ends, and drains.
func (s *session) serve(told context.Context) error {
	ctx, end := context.WithCancel(told)
	defer end()
	tasks, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() {
		closeAll(s.listeners)
		if s.ending != nil && told.Err() != nil {
			s.ending()
		}
	})()
	for _, service := range s.services {
		tasks.Go(func() error { return service.serve(ctx, service.ln) })
	}
	if s.gateway != nil {
		tasks.Go(func() error { return s.gateway.serve(ctx) })
	}
	tasks.Go(func() error { newReporter(s).run(ctx); return nil })
	tasks.Go(func() error { tidy(ctx); return nil })
	tasks.Go(func() error { keepCores(ctx); return nil })
	if s.control != nil {
		tasks.Go(func() error { return s.control.serve(ctx) })
	}
	if s.main != nil {
		tasks.Go(func() error {
			defer end()
			return s.main(ctx)
		})
	}
	return tasks.Wait()
}

// conns is how many connections are open.
func (s *session) conns() (n int) {
	for _, service := range s.services {
		n += service.conns()
	}
	if s.gateway != nil {
		n += s.gateway.conns()
	}
	return n
}

// close ends the tunnels, all at once: each may give what it has still to deliver some time.
func (s *session) close() {
	var closing sync.WaitGroup
	for _, t := range s.tunnels {
		closing.Go(func() { t.net.Close() })
	}
	closing.Wait()
}
