package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/netstack"
	"github.com/wimble-proxy/wimble/proxy"
)

// drainTime is what open connections get when the program is told to end.
const drainTime = 30 * time.Second

// session is one tunnel with its listeners, in the foreground.
type session struct {
	*app
	tunnel    config.Tunnel
	place     string         // what messages call the tunnel's configuration
	listeners []net.Listener // run closes them
	options   netstack.Options
	target    string // what the curl line asks for
	remark    string // what people have to know about it; may be empty
	// ready, if not nil, is called when the session was said to be up, and ends it.
	ready func(ctx context.Context) error
}

// run brings the tunnel up and serves the listeners until ctx ends or a signal comes, and drains.
func (s *session) run(ctx context.Context) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	greeter := newGreeter(len(s.tunnel.Peers))
	s.options.Logger = s.console.log
	s.options.Resolve = s.host.Resolve
	s.options.OnEvent = greeter.event
	n, err := netstack.Open(ctx, eager(s.tunnel), s.options)
	if err != nil {
		closeAll(s.listeners)
		return s.openError(ctx, err)
	}
	defer n.Close()
	server, err := proxy.New(proxy.Config{Dial: n.DialContext, GraceTimeout: drainTime, Logger: s.console.log})
	if err != nil {
		closeAll(s.listeners)
		return err
	}

	tasks, ctx := errgroup.WithContext(ctx)
	for _, ln := range s.listeners {
		tasks.Go(func() error { return server.Serve(ctx, ln) })
	}
	tasks.Go(func() error {
		defer stop()
		return newReporter(s, n.Device(), greeter).run(ctx)
	})
	<-ctx.Done()
	stop() // the next signal is meant in earnest
	if open := server.Stats().Conns; open > 0 {
		s.console.say("ending: open connections have %.0f s to finish (%d now); another Ctrl-C ends them", drainTime.Seconds(), open)
	}
	err = tasks.Wait()
	s.console.log.Info("ended", "sockets", s.host)
	return err
}

// openError is the error for a tunnel that does not come up.
func (s *session) openError(ctx context.Context, err error) error {
	port := s.tunnel.ListenPort
	switch {
	case ctx.Err() != nil:
		return nil // we were told to end
	case errors.Is(err, syscall.EADDRINUSE):
		return refuse(s.place, fmt.Errorf("UDP port %d, its ListenPort, is in use", port),
			"stop the program that has it, or remove the line to let the system choose")
	case errors.Is(err, syscall.EACCES):
		return refuse(s.place, fmt.Errorf("the system does not let this user have UDP port %d, its ListenPort", port),
			"choose one above 1023, or remove the line to let the system choose")
	}
	return err
}
