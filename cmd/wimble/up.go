package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/netstack"
)

func (a *app) upCommand() *cobra.Command {
	var listen listenFlag
	cmd := &cobra.Command{
		Use:   "up FILE|NAME",
		Short: "Bring a tunnel up and serve a SOCKS5 proxy into it",
		Long: `up brings the tunnel of a wg-quick file up and serves a SOCKS5 proxy into it, in the
foreground. It takes one FILE, - for the standard input, or a NAME, for which it reads
the first of

  $XDG_CONFIG_HOME/wimble/NAME.conf (~/.config, if the variable is not set)
  /etc/wimble/NAME.conf
  /etc/wireguard/NAME.conf

Nothing of the file concerns the host: no interface, no route, no name server is set, and
no command in it is run.

SIGINT (Ctrl-C) or SIGTERM lets open connections finish, for 30 s at most; a second one
ends at once.`,
		Example: `  wimble up ~/Downloads/wg0.conf
  wimble up office -D 1080 -D '[::1]:1080'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeConfig,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.up(cmd.Context(), args[0], listen)
		},
	}
	listen.addTo(cmd, "default "+defaultListen.String())
	return cmd
}

func completeConfig(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return configNames(word), cobra.ShellCompDirectiveDefault
}

func (a *app) up(ctx context.Context, arg string, listen listenFlag) error {
	if len(listen) == 0 {
		listen = listenFlag{defaultListen}
	}
	path, err := findFile(arg)
	if err != nil {
		return err
	}
	tunnel, warnings, err := config.ReadWireGuard(path)
	for _, w := range warnings {
		a.console.warn(w.String())
	}
	if err != nil {
		return err
	}
	listeners, err := a.listenAll(ctx, listen)
	if err != nil {
		return err
	}
	target, remark := suggest(tunnel)
	s := &session{
		app: a, tunnel: tunnel, place: path, listeners: listeners, target: target, remark: remark,
		options: netstack.Options{ListenPacket: a.host.ListenPacket},
	}
	if path == "-" {
		s.place = "the standard input"
	}
	return s.run(ctx)
}

// publicTarget answers with the address that it sees its visitor come from.
var publicTarget = netip.AddrFrom4([4]byte{1, 1, 1, 1})

// suggest is what to try first through a tunnel, and what to know about it.
func suggest(t config.Tunnel) (target, remark string) {
	const noNames = "the proxy takes IP addresses; names need DNS in the tunnel, which it can't ask yet"
	var networks []string
	for _, peer := range t.Peers {
		for _, network := range peer.AllowedIPs {
			if network.Contains(publicTarget) && hasIPv4(t) {
				return fmt.Sprintf("https://%v/cdn-cgi/trace", publicTarget), noNames
			}
			networks = append(networks, network.String())
		}
	}
	const shown = 3
	if len(networks) > shown {
		networks = append(networks[:shown], "...")
	}
	if len(networks) == 0 {
		return "http://ADDRESS/", noNames
	}
	return "http://ADDRESS/", fmt.Sprintf("ADDRESS is one in %s: %s", strings.Join(networks, ", "), noNames)
}

func hasIPv4(t config.Tunnel) bool {
	for _, address := range t.Addresses {
		if address.Addr().Is4() {
			return true
		}
	}
	return false
}
