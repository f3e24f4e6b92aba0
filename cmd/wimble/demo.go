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
	"github.com/wimble-proxy/wimble/netstack"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// The addresses of the demo's tunnel, which exist inside of it only.
var (
	nearAddress = netip.AddrFrom4([4]byte{10, 77, 0, 2})
	farAddress  = netip.AddrFrom4([4]byte{10, 77, 0, 1})
)

func (a *app) demoCommand() *cobra.Command {
	var listen listenFlag
	var once bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Try it: both ends of a tunnel in this process",
		Long: `demo runs both ends of a WireGuard tunnel in this process, with fresh keys and UDP on the
loopback interface between them. The far end has a page that says which way a request came.
It needs no server, no configuration and no privilege, and contacts no other machine.`,
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
	listeners, err := a.listenForDemo(ctx, listen)
	if err != nil {
		return err
	}
	end, err := a.openFarEnd(ctx, far)
	if err != nil {
		closeAll(listeners)
		return err
	}
	defer end.close()
	near.Peers[0].Endpoint = fmt.Sprintf("127.0.0.1:%d", end.net.Device().ListenPort())

	page := fmt.Sprintf("http://%v/", farAddress)
	s := &session{
		app: a, tunnel: near, place: "the demo", listeners: listeners, target: page,
		remark:  "this tunnel leads to that page and nowhere else; Ctrl-C ends it",
		options: netstack.Options{ListenPacket: a.host.ListenPacketLoopback},
	}
	if once {
		s.remark = ""
		s.ready = func(ctx context.Context) error {
			return a.fetch(ctx, listeners[0].Addr(), page, stdout)
		}
	}
	return s.run(ctx)
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

// host is the network of one address.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// listenForDemo opens what was asked for, or else one listener on the usual port or a free one.
func (a *app) listenForDemo(ctx context.Context, listen listenFlag) ([]net.Listener, error) {
	if len(listen) > 0 {
		return a.listenAll(ctx, listen)
	}
	listeners, err := a.listenAll(ctx, listenFlag{defaultListen})
	if err == nil {
		return listeners, nil
	}
	a.console.say("proxy  %v is taken, so a free port has to do", defaultListen)
	return a.listenAll(ctx, listenFlag{netip.AddrPortFrom(defaultListen.Addr(), 0)})
}

// fetch prints a page that it gets through a proxy.
func (a *app) fetch(ctx context.Context, proxy net.Addr, page string, stdout io.Writer) error {
	const limit = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	client := http.Client{Transport: &http.Transport{
		Proxy:             http.ProxyURL(&url.URL{Scheme: "socks5h", Host: proxy.String()}),
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
