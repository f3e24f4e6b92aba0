// Command wimble reaches a WireGuard network without root, TUN device or kernel interface: it is a proxy for SOCKS5 and
// HTTP in front of a WireGuard engine and a TCP/IP stack of its own.
//
// This package wires and talks: flags, signals, exit codes, what people read, and the host's sockets (host.go). What
// it does with the packages behind it, any other program can do as well; begin with netstack.Open.
//
// Start reading at run, which is the whole program as a function; up.go and demo.go are its two long-running commands.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func main() {
	harden()
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program: it returns the exit code. When ctx ends, what is served is drained as after a signal.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{host: new(hostNet), console: newConsole(stderr)}
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	var child *childError
	if err != nil && (!errors.As(err, &child) || child.cause != nil) {
		a.console.fail(err)
	}
	return exitCode(cmd.Name(), err)
}

// app is what the commands share.
type app struct {
	host    *hostNet
	console *console
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "wimble",
		Short: "Reach a WireGuard network without root, through a proxy",
		Long: `wimble reaches a WireGuard network without root, TUN device or kernel interface:
it is a proxy for SOCKS5 and HTTP in front of a WireGuard engine and a TCP/IP stack of
its own.

Try it with "wimble demo", which needs no server and no configuration.`,
		Args:          knownCommand,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRun: func(*cobra.Command, []string) {
			a.console.open()
		},
	}
	a.console.addFlags(root)
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		a.upCommand(), a.execCommand(), a.connectCommand(), a.checkCommand(), a.waitCommand(), a.healthcheckCommand(), a.demoCommand(),
		genkeyCommand(), genpskCommand(), pubkeyCommand(), versionCommand(),
		configurationTopic(), environmentTopic(),
	)
	root.InitDefaultCompletionCmd()
	refuseArguments(root)
	return root
}

// knownCommand is for words that are no command: all that are come past it.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 && args[0] != "" {
		return usagef("there is no such command; did you mean %s?", strings.Join(like, " or "))
	}
	return usagef("there is no such command; wimble --help lists those that there are")
}

// refuseArguments gives the commands below parent their error for wrong arguments. Cobra's own repeats the argument,
// which may be a key.
func refuseArguments(parent *cobra.Command) {
	for _, cmd := range parent.Commands() {
		if accept := cmd.Args; accept != nil {
			cmd.Args = func(cmd *cobra.Command, args []string) error {
				if accept(cmd, args) != nil {
					return usagef("wrong arguments; usage: %s", cmd.UseLine())
				}
				return nil
			}
		}
		refuseArguments(cmd)
	}
}
