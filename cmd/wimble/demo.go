package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// The addresses of the demo's tunnel, which exist inside of it only.
var (
	nearAddress = netip.AddrFrom4([4]byte{10, 77, 0, 2})
	farAddress  = netip.AddrFrom4([4]byte{10, 77, 0, 1})
	// For targets that have IPv6; the far end itself needs none.
	nearAddress6 = netip.MustParseAddr("fd77::2")
)

func (a *app) demoCommand() *cobra.Command {
	var listen listenFlag
	var once bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Try it: both ends of a tunnel in this process",
		Long: `demo runs both ends of a WireGuard tunnel in this process, with fresh keys and UDP on the
loopback interface between them. The far end has a page that says which way a request came, and is a
gateway to what this host reaches, but for loopback and link-local addresses. It needs no
server, no configuration and no privilege, and contacts no other machine that a client does
not ask for.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.demo(cmd.Context(), listen, once, cmd.OutOrStdout())
		},
	}
	listen.addTo(cmd, "default "+defaultListen.String()+", or a free port if that is taken")
	cmd.Flags().BoolVar(&once, "once", false, "fetch the page through the proxy, print it and exit")
	return cmd
}

func (a *app) demo(ctx context.Context, listen listenFlag, once bool, stdout io.Writer) error {
	near, far, err := demoTunnels()
	if err != nil {
		return err
	}
	widen(&near, &far)
	p := newPlan("the demo", config.Config{Tunnels: []config.Tunnel{near}})
	if err := p.add(additions{proxies: listen}); err != nil {
		return err
	}
	s := a.newSession(p)
	s.listenPacket = a.host.ListenPacketLoopback
	s.target = fmt.Sprintf("http://%v/", farAddress)
	s.remark = "the far end leads on to what this host reaches, but for loopback and link-local addresses; Ctrl-C ends it"
	if s.listeners, err = a.listenForDemo(ctx, p); err != nil {
		return err
	}
	end, err := a.openFarEnd(ctx, far, s.listeners...)
	if err != nil {
		closeAll(s.listeners)
		return err
	}
	defer end.close()
	p.Tunnels[0].Peers[0].Endpoint = fmt.Sprintf("127.0.0.1:%d", end.net.Device().ListenPort())
	if once {
		s.name, s.remark = "", ""
		s.main = func(ctx context.Context) error {
			select {
			case <-s.said:
			case <-ctx.Done():
			}
			return a.fetch(ctx, &url.URL{Scheme: "socks5h", Host: s.services[0].ln.Addr().String()}, s.target, stdout)
		}
	}
	return s.foreground(ctx)
}

// demoTunnels are the two ends of a tunnel. The far end's address, as an endpoint of the near one, is still to be found.
func demoTunnels() (near, far config.Tunnel, err error) {
	for _, end := range []struct {
		tunnel  *config.Tunnel
		name    string
		address netip.Addr
	}{{&near, "demo", nearAddress}, {&far, "far end", farAddress}} {
		private, err := key.NewPrivate(rand.Reader)
		if err != nil {
			return near, far, err
		}
		*end.tunnel = config.Tunnel{Name: end.name, PrivateKey: private, Addresses: []netip.Prefix{host(end.address)}}
	}
	near.Peers = []config.Peer{{PublicKey: far.PrivateKey.Public(), AllowedIPs: []netip.Prefix{host(farAddress)}}}
	far.Peers = []config.Peer{{PublicKey: near.PrivateKey.Public(), AllowedIPs: []netip.Prefix{host(nearAddress)}}}
	return near, far, nil
}

// widen leads everything through a tunnel that led to one address, names included.
func widen(near, far *config.Tunnel) {
	near.DNS = []netip.Addr{farAddress}
	near.Addresses = append(near.Addresses, host(nearAddress6))
	far.Peers[0].AllowedIPs = append(far.Peers[0].AllowedIPs, host(nearAddress6))
	near.Peers[0].AllowedIPs = nil
	for _, rule := range everything {
		near.Peers[0].AllowedIPs = append(near.Peers[0].AllowedIPs, rule.Network)
	}
}

// host is the network of one address.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// listenForDemo opens the listeners of a plan. Of the default one only the address has to be free, and not the port.
func (a *app) listenForDemo(ctx context.Context, p *plan) ([]net.Listener, error) {
	listeners, err := a.listenAll(ctx, p)
	if err == nil || p.Proxies[0].Listen != defaultListen || p.flags[defaultListen] != defaultPlace {
		return listeners, err
	}
	a.console.say("proxy  %v is taken, so a free port has to do", defaultListen)
	p.Proxies[0].Listen = netip.AddrPortFrom(defaultListen.Addr(), 0)
	return a.listenAll(ctx, p)
}

// fetch prints a page that it gets through a proxy.
func (a *app) fetch(ctx context.Context, proxy *url.URL, page string, stdout io.Writer) error {
	const limit = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	client := http.Client{Transport: &http.Transport{
		Proxy:             http.ProxyURL(proxy),
		DialContext:       a.host.DialProxy,
		DisableKeepAlives: true,
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", page, response.Status)
	}
	_, err = io.Copy(stdout, response.Body)
	return err
}
