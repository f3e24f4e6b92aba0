package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/wimble-proxy/wimble/config"
)

func (a *app) checkCommand() *cobra.Command {
	var listen additions
	cmd := &cobra.Command{
		Use:   "check [FILE|NAME]",
		Short: "Say in words what up would do, and do nothing",
		Long: `check reads what up would read, options included, and says in words what would happen:
what is reached, who may connect, where names are looked up, and what leaves outside the
tunnels. It opens no socket, so it can't see whether a port is free. Its exit code is 78
when the configuration can't be used.`,
		Example:           `  wimble check office`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeConfig,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.planWith(args, listen)
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), config.Describe(p.Config))
			return err
		},
	}
	listen.addTo(cmd)
	return cmd
}
