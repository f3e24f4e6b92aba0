package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/wimble-proxy/wimble/config"
)

// execOptions are the flags of exec.
type execOptions struct {
	socks    bool
	limit    durationFlag
	forwards forwardFlag
}

func (a *app) execCommand() *cobra.Command {
	o := execOptions{limit: durationFlag(30 * time.Second)}
	cmd := &cobra.Command{
		Use:   "exec [FILE|NAME] -- COMMAND [ARG]...",
		Short: "Run a command that reaches the network behind a tunnel",
		Long: `exec brings the first tunnel of a configuration up, waits for the handshake, and runs a
command whose environment leads it through the tunnel: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY
and the same in lower case name a proxy on a free port of 127.0.0.1, and NO_PROXY leaves
out this host alone. FILE and NAME are as for up, but what listens there does not here.

On Linux other users of this host can't use what listens; elsewhere the variables hold a
password that is made for this run, and forwards have none. The command does not get the variables that hold a
configuration. It gets the signals that exec gets, and everything ends with it.

It opens a tunnel of its own, so nothing else may use the same private key at the time.

The exit code is the command's, or 128 and the number of the signal that ended it; 125 if
exec itself fails, 126 if the command can't be run, 127 if it is not found.`,
		Example: `  wimble exec ci.conf -- ./deploy.sh
  wimble exec -L 5432:db.internal:5432 ci.conf -- psql -h 127.0.0.1`,
		DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if dash := cmd.ArgsLenAtDash(); dash < 0 || dash > 1 || dash == len(args) {
				return errors.New("wrong number of arguments before or behind --")
			}
			return nil
		},
		ValidArgsFunction: completeConfig,
		RunE: func(cmd *cobra.Command, args []string) error {
			dash := cmd.ArgsLenAtDash()
			command, err := newCommand(args[dash:])
			if err != nil {
				return err
			}
			command.Stdin, command.Stdout, command.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			return a.exec(cmd.Context(), args[:dash], command, o)
		},
	}
	cmd.Flags().BoolVar(&o.socks, "socks", false, "name the proxy as socks5h:// in place of http://")
	o.limit.addTo(cmd, "timeout", "wait for so long at most, like 90s or 2m")
	o.forwards.addTo(cmd)
	return cmd
}

// newCommand finds a command, before there is a tunnel for it.
func newCommand(words []string) (*exec.Cmd, error) {
	path, err := exec.LookPath(words[0])
	if err != nil {
		return nil, notRun(words[0], err)
	}
	return &exec.Cmd{Path: path, Args: words}, nil
}

// notRun is the error for a command that does not run.
func notRun(name string, err error) error {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return &childError{exitNotFound, fmt.Errorf("%s: there is no such command; check its name and PATH", name)}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = errno
	}
	return &childError{exitNotRun, fmt.Errorf("%s: the system does not run it: %w", name, err)}
}

// exec runs a command with a tunnel for it.
func (a *app) exec(ctx context.Context, args []string, command *exec.Cmd, o execOptions) error {
	p, err := a.plan(args)
	if err != nil {
		return err
	}
	p.Config = config.Config{Tunnels: p.Tunnels[:1]}
	if err := p.add(additions{proxies: listenFlag{anyPort}, forwards: o.forwards}); err != nil {
		return err
	}
	s := a.newSession(p)
	s.name, s.quiet, s.grace = "", true, -1
	address := &url.URL{Scheme: "http"}
	if o.socks {
		address.Scheme = "socks5h"
	}
	if tellsUsers() {
		s.guard = a.ownUserOnly
	} else {
		address.User = protect(&p.Proxies[0])
	}
	if err := s.open(ctx); err != nil {
		return err
	}
	defer s.close()
	address.Host = s.services[0].ln.Addr().String()
	command.Env = childEnvironment(os.Environ(), address.String())
	s.main = func(ctx context.Context) error {
		return s.runCommand(ctx, command, time.Duration(o.limit))
	}
	return s.serve(ctx)
}

// anyPort is a free port of loopback.
var anyPort = netip.MustParseAddrPort("127.0.0.1:0")

// protect gives a proxy a user with a password that nobody knows, and returns both.
func protect(p *config.Proxy) *url.Userinfo {
	const user = "wimble"
	password := rand.Text()
	p.Users = config.Users{user: sha256.Sum256([]byte(password))}
	return url.UserPassword(user, password)
}

// runCommand waits until the tunnel can be used, and runs the command to its end.
func (s *session) runCommand(ctx context.Context, command *exec.Cmd, limit time.Duration) error {
	if err := s.awaitTunnel(ctx, limit); err != nil {
		return err
	}
	signals := make(chan os.Signal, 16) // as many as may come before one is handed on
	signal.Notify(signals, handedOn...)
	defer signal.Stop(signals)
	if err := command.Start(); err != nil {
		return notRun(command.Args[0], err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = command.Wait() // the state says it all
	}()
	for {
		select {
		case sig := <-signals:
			handOn(command.Process, sig)
		case <-ctx.Done(): // the proxy has failed
			_ = command.Process.Kill()
			<-ended
			return ctx.Err()
		case <-ended:
			if code := statusCode(command.ProcessState); code != 0 {
				return &childError{code: code}
			}
			return nil
		}
	}
}

// awaitTunnel waits until the first tunnel can be used.
func (s *session) awaitTunnel(ctx context.Context, limit time.Duration) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t := s.tunnels[0]
	err := t.await(waiting)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errors.New("interrupted before the command ran")
	}
	_, reason := t.ready()
	return fmt.Errorf("not ready in %v: %s", limit, cmp.Or(reason, "no peer has called"))
}
