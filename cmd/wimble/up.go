package main

import (
	"context"

	"github.com/spf13/cobra"
)

func (a *app) upCommand() *cobra.Command {
	var listen additions
	cmd := &cobra.Command{
		Use:   "up [FILE|NAME]",
		Short: "Bring tunnels up and serve proxies and forwards into them",
		Long: `up brings the tunnels of a configuration up and serves its proxies and forwards, in the
foreground. FILE is a wg-quick file or one in TOML (see "wimble help configuration"), - is
the standard input. NAME stands for NAME.toml or NAME.conf in the first of these folders
that has one:

  $XDG_CONFIG_HOME/wimble (~/.config/wimble, if the variable is not set)
  /etc/wimble
  /etc/wireguard
  /run/secrets

Without FILE, the environment is the configuration, if it has one ("wimble help
environment"), or else wimble.toml or wg0.conf in these folders.

Without a listener, in the configuration or by -D or -L, a proxy for SOCKS5 and HTTP
listens on 127.0.0.1:1080. All that is to listen does, or else nothing starts. Nothing of
the file concerns the host: no interface, no route, no name server is set, and no command
in it is run.

SIGINT (Ctrl-C) or SIGTERM lets open connections finish, for 30 s at most; a second one
ends at once.`,
		Example: `  wimble up ~/Downloads/wg0.conf
  wimble up office -D 1080 -L 5432:db.internal:5432`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeConfig,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.up(cmd.Context(), args, listen)
		},
	}
	listen.addTo(cmd)
	return cmd
}

func completeConfig(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return configNames(word), cobra.ShellCompDirectiveDefault
}

func (a *app) up(ctx context.Context, args []string, listen additions) error {
	p, err := a.planWith(args, listen)
	if err != nil {
		return err
	}
	return a.newSession(p).foreground(ctx)
}
