package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// askAgain is the pause of who waits for an instance that does not run yet.
const askAgain = 50 * time.Millisecond

func (a *app) healthcheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "healthcheck [NAME]",
		Short: "Ask a running instance whether its tunnels can be used",
		Long: `healthcheck asks a running instance of the same user whether all of its tunnels can be
used, and exits with 0 if so, and else with 1 and the reason. It is meant for containers,
whose image needs no shell for it.

A tunnel can be used if one of the peers that it calls answers. One that was idle for long
is tried on the spot, for which it gets 6 seconds; no other host is contacted. NAME is that
of the instance's first tunnel, and is needed when there are several instances.`,
		Example:               `  wimble healthcheck`,
		Args:                  cobra.MaximumNArgs(1),
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     completeInstance,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.healthy(cmd.Context(), only(args))
		},
	}
}

func (a *app) waitCommand() *cobra.Command {
	limit := durationFlag(30 * time.Second)
	cmd := &cobra.Command{
		Use:   "wait [NAME]",
		Short: "Wait until a running instance is ready",
		Long: `wait waits until an instance of the same user runs and is ready: what it is to listen on
listens, and in each of its tunnels a peer has answered. It then exits with 0, or with 124
and the reason when that takes too long. NAME is as for healthcheck.`,
		Example: `  wimble up wg0.conf &
  wimble wait && curl -x socks5h://127.0.0.1:1080 http://intranet.example/`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeInstance,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.wait(cmd.Context(), only(args), time.Duration(limit))
		},
	}
	limit.addTo(cmd, "timeout", "wait for so long at most, like 90s or 2m")
	return cmd
}

// only is the argument, or "" if there is none.
func only(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func completeInstance(_ *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	if len(args) == 0 {
		for _, path := range socketPaths("") {
			names = append(names, socketName(path))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// healthy returns the reason why an instance is not.
func (a *app) healthy(ctx context.Context, name string) error {
	s, err := a.askInstance(ctx, name, askProbe)
	if err == nil && !s.Ready {
		err = errors.New(s.Reason)
	}
	return err
}

// wait waits until an instance is healthy.
func (a *app) wait(ctx context.Context, name string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var reason error
	for {
		err := a.healthy(ctx, name)
		if err == nil {
			return nil
		}
		if reason == nil || ctx.Err() == nil {
			reason = err
		}
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return &timeoutError{fmt.Errorf("not ready in %v: %w", limit, reason)}
		}
	}
}
