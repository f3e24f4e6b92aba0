package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// defaultListen is where the proxy listens when nothing else is said: the port of SOCKS (RFC 1928, section 3).
var defaultListen = netip.MustParseAddrPort("127.0.0.1:1080")

// listenFlag is the value of -D: every use adds a listener.
type listenFlag []netip.AddrPort

func (l *listenFlag) addTo(cmd *cobra.Command, otherwise string) {
	cmd.Flags().VarP(l, "proxy", "D", "listen for SOCKS5 here, on 127.0.0.1 if no host is given; can be repeated ("+otherwise+")")
	_ = cmd.RegisterFlagCompletionFunc("proxy", cobra.NoFileCompletions) // fails only for a flag that is not there
}

func (l *listenFlag) Type() string { return "[host:]port" }

func (l *listenFlag) String() string {
	var texts []string
	for _, address := range *l {
		texts = append(texts, address.String())
	}
	return strings.Join(texts, ",")
}

// Set adds a listener, as flags want it.
func (l *listenFlag) Set(s string) error {
	host, port := "127.0.0.1", s
	if strings.Contains(s, ":") {
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return errListen
		}
	}
	switch host {
	case "localhost":
		host = "127.0.0.1"
	case "", "*":
		host = "0.0.0.0"
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" {
		return errListen
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return errListen
	}
	*l = append(*l, netip.AddrPortFrom(addr.Unmap(), uint16(number)))
	return nil
}

var errListen = errors.New("this is not [host:]port; write it like 1080, 127.0.0.1:1080 or [::1]:1080")

// listenAll opens all listeners or none.
func (a *app) listenAll(ctx context.Context, addresses []netip.AddrPort) (listeners []net.Listener, err error) {
	for _, address := range addresses {
		if !address.Addr().IsLoopback() {
			return nil, refuse("-D "+address.String(),
				errors.New("others who reach this address could use the tunnel, since the proxy knows no users"),
				"listen on 127.0.0.1 or [::1]")
		}
	}
	defer func() {
		if err != nil {
			closeAll(listeners)
			listeners = nil
		}
	}()
	for _, address := range addresses {
		ln, err := a.host.Listen(ctx, address)
		if err != nil {
			return listeners, listenError(address, err)
		}
		listeners = append(listeners, ln)
	}
	return listeners, nil
}

func closeAll(listeners []net.Listener) {
	for _, ln := range listeners {
		ln.Close()
	}
}

// listenError is the error for a listener that can't be opened.
func listenError(address netip.AddrPort, err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // the place says the rest
	}
	remedy := "choose another address with -D"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		err = errors.New("the port is in use")
		remedy = "stop the program that has it, or choose another one with -D"
	case errors.Is(err, syscall.EACCES):
		err = errors.New("the system does not let this user listen there")
		remedy = "choose a port above 1023 with -D"
	}
	return refuse("proxy "+address.String(), err, remedy)
}
