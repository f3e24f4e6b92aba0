package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"github.com/wimble-proxy/wimble/config"
)

// plan is what a command is to run: a configuration, and what the command line adds to it.
type plan struct {
	config.Config
	// place is what messages call the configuration.
	place string
	// flags are the listeners that are not of the configuration, as the command line has them.
	flags map[netip.AddrPort]string
}

// additions are the listeners that the command line adds to a configuration.
type additions struct {
	proxies  listenFlag
	forwards forwardFlag
}

func (l *additions) addTo(cmd *cobra.Command) {
	l.proxies.addTo(cmd, "default "+defaultListen.String()+" if there is no other listener")
	l.forwards.addTo(cmd)
}

// plan reads the configuration that the arguments name, or with none that of the environment or of the usual places.
// It adds no listener.
func (a *app) plan(args []string) (*plan, error) {
	if len(args) == 0 {
		c, warnings, err := config.FromEnvironment(os.Getenv)
		if err != nil || len(c.Tunnels) > 0 {
			return a.planned(environmentPlace(), c, warnings, err)
		}
	}
	path, err := findFor(args)
	if err != nil {
		return nil, err
	}
	c, warnings, err := config.Read(path)
	place := path
	if path == "-" {
		place = "the standard input"
	}
	return a.planned(place, c, warnings, err)
}

// What messages call a configuration of the environment: its text is in one variable, or it is in several.
const (
	textVariable = "WIMBLE_CONFIG"
	variables    = "the WIREGUARD variables"
)

func environmentPlace() string {
	if os.Getenv(textVariable) != "" {
		return textVariable
	}
	return variables
}

// findFor is the path of the file that the arguments name.
func findFor(args []string) (string, error) {
	if len(args) == 0 {
		return findUsual()
	}
	return findFile(args[0])
}

// planned makes a plan of what package config returned.
func (a *app) planned(place string, c config.Config, warnings []config.Warning, err error) (*plan, error) {
	for _, w := range warnings {
		a.console.warn(w.String())
	}
	if err != nil {
		return nil, err
	}
	return newPlan(place, c), nil
}

func newPlan(place string, c config.Config) *plan {
	return &plan{Config: c, place: place, flags: make(map[netip.AddrPort]string)}
}

// planWith is a plan with the listeners of the command line, or with the default one if there is no other. They lead
// into the first tunnel.
func (a *app) planWith(args []string, l additions) (*plan, error) {
	p, err := a.plan(args)
	if err != nil {
		return nil, err
	}
	if len(p.Tunnels[0].DNS) == 0 {
		for _, f := range l.forwards {
			if _, err := netip.ParseAddrPort(f.target); err != nil {
				a.console.warn(fmt.Sprintf("-L %v: tunnel %s has no name server, so this name can't be looked up: add DNS in %s, or write an address",
					f, p.Tunnels[0].Name, p.place))
			}
		}
	}
	return p, p.add(l)
}

func (p *plan) add(l additions) error {
	first := p.Tunnels[0]
	for _, address := range l.proxies {
		if err := p.claim(address, "-D "+address.String()); err != nil {
			return err
		}
		p.addProxy(address)
	}
	for _, f := range l.forwards {
		if err := p.claim(f.listen, "-L "+f.String()); err != nil {
			return err
		}
		p.Forwards = append(p.Forwards, config.Forward{Listen: f.listen, Target: f.target, Tunnel: first.Name})
	}
	if len(p.Proxies)+len(p.Forwards) == 0 && p.Gateway == nil {
		p.flags[defaultListen] = defaultPlace
		p.addProxy(defaultListen)
	}
	return nil
}

// addProxy adds a proxy into the first tunnel.
func (p *plan) addProxy(listen netip.AddrPort) {
	p.Proxies = append(p.Proxies, config.Proxy{
		Listen: listen, Tunnel: p.Tunnels[0].Name, Protocols: []config.Protocol{config.HTTP, config.SOCKS5},
	})
}

// defaultPlace is what messages call the listener that nobody asked for.
const defaultPlace = "proxy 127.0.0.1:1080"

// claim takes an address for a listener of the command line.
func (p *plan) claim(address netip.AddrPort, flag string) error {
	if !address.Addr().IsLoopback() {
		return refuse(flag, errors.New("others who reach this address could use the tunnel"),
			"listen on 127.0.0.1 or [::1], or say in a configuration who may connect, with allow_clients or users_file")
	}
	if who := p.listens(address); who != "" && address.Port() != 0 {
		return refuse(flag, fmt.Errorf("%s listens there already", who), "choose another port")
	}
	p.flags[address] = flag
	return nil
}

// listens says what listens on an address, or "".
func (p *plan) listens(address netip.AddrPort) string {
	if flag := p.flags[address]; flag != "" {
		return flag
	}
	for _, proxy := range p.Proxies {
		if proxy.Listen == address {
			return "a proxy of " + p.place
		}
	}
	for _, forward := range p.Forwards {
		if forward.Listen == address {
			return "a forward of " + p.place
		}
	}
	return ""
}

// origin is what messages call a listener, and the flag that sets its address, if one does.
func (p *plan) origin(kind string, listen netip.AddrPort) (place, flag string) {
	switch flag := p.flags[listen]; {
	case flag == "":
		return fmt.Sprintf("%s: %s %v", p.place, kind, listen), ""
	case kind == "forward":
		return flag, "-L"
	default:
		return flag, "-D"
	}
}

// tunnelPlace is what messages call the part of the configuration that is about a tunnel.
func (p *plan) tunnelPlace(name string) string {
	if len(p.Tunnels) == 1 {
		return p.place
	}
	return p.place + ": tunnel " + name
}
