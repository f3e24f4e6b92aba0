package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// defaultListen is where the proxy listens when nothing else is said: the port of SOCKS (RFC 1928, section 3).
var defaultListen = netip.MustParseAddrPort("127.0.0.1:1080")

// listenAll opens the listeners of a plan, those of the proxies before those of the forwards, or none.
func (a *app) listenAll(ctx context.Context, p *plan) (listeners []net.Listener, err error) {
	defer func() {
		if err != nil {
			closeAll(listeners)
			listeners = nil
		}
	}()
	open := func(kind string, address netip.AddrPort) error {
		ln, err := a.host.Listen(ctx, address)
		if err != nil {
			place, flag := p.origin(kind, address)
			return listenError(place, flag, err)
		}
		listeners = append(listeners, ln)
		return nil
	}
	for _, proxy := range p.Proxies {
		if err := open("proxy", proxy.Listen); err != nil {
			return listeners, err
		}
	}
	for _, forward := range p.Forwards {
		if err := open("forward", forward.Listen); err != nil {
			return listeners, err
		}
	}
	return listeners, nil
}

func closeAll(listeners []net.Listener) {
	for _, ln := range listeners {
		ln.Close()
	}
}

// listenError is the error for a listener that can't be opened. The flag is the one that sets its address, or "".
func listenError(place, flag string, err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // the place says the rest
	}
	where := " as its listen"
	if flag != "" {
		where = " with " + flag
	}
	remedy := "choose another address" + where
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		err = errors.New("the port is in use")
		remedy = "stop the program that has it, or choose another one" + where
	case errors.Is(err, syscall.EACCES):
		err = errors.New("the system does not let this user listen there")
		remedy = "choose a port above 1023" + where
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		err = errors.New("this host does not have the address")
		remedy = "choose one that it has" + where
	}
	return refuse(place, err, remedy)
}
