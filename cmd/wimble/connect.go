package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/forward"
	"github.com/wimble-proxy/wimble/wireguard"
)

const (
	connectTime = 30 * time.Second // for a handshake and a connection
	// halfClosedTime is how long standard input is still read when the target has ended its stream.
	halfClosedTime = time.Minute
	// leaveTime is what the streams get to end in order after a signal.
	leaveTime = 2 * time.Second
)

// left is that a signal ended the connection, or that nobody reads what comes. Whoever did it knows, so it has no text.
func left() error { return &childError{code: exitRuntime} }

func (a *app) connectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "connect [FILE|NAME] HOST:PORT",
		Short: "Connect standard input and output to a target behind a tunnel",
		Long: `connect brings the first tunnel of a configuration up, connects to a TCP port behind it, and
carries standard input there and what comes back to standard output. The end of one is
passed on while the other goes on. FILE and NAME are as for up; a HOST that is a name is
looked up in the tunnel. Nothing else may use the same private key at the time.

SIGHUP, SIGINT, SIGTERM or nobody to read standard output ends it when what was read before
is carried, after 2 s at most.`,
		Example:               `  ssh -o ProxyCommand='wimble connect wg0.conf [%h]:%p' user@10.0.0.5`,
		Args:                  cobra.RangeArgs(1, 2),
		ValidArgsFunction:     completeConfig,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			last := len(args) - 1
			host, port, err := net.SplitHostPort(args[last])
			target, ok := targetAddress(host, port)
			if err != nil || !ok {
				return usagef("the target is not HOST:PORT; write it like db.internal:22, 10.0.0.5:22 or [fd00::5]:22")
			}
			return a.connect(cmd.Context(), args[:last], target, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

// connect carries standard input and output to a target behind a tunnel.
func (a *app) connect(ctx context.Context, args []string, target string, stdin io.Reader, stdout io.Writer) error {
	p, err := a.plan(args)
	if err != nil {
		return err
	}
	p.Config = config.Config{Tunnels: p.Tunnels[:1]}
	// ssh sends SIGHUP to its ProxyCommand right behind its last words.
	ctx, stop := untilSignal(ctx, syscall.SIGHUP)
	defer stop()
	s := a.newSession(p)
	s.name, s.quiet = "", true
	if err := s.open(ctx); err != nil {
		return err
	}
	defer s.close()
	s.main = func(ctx context.Context) error {
		conn, err := s.dial(ctx, target)
		if err == nil {
			err = splice(ctx, conn, stdin, stdout)
		}
		switch {
		case ctx.Err() != nil:
			return left()
		case err != nil:
			return fmt.Errorf("%s: %w", target, err)
		}
		return nil
	}
	return s.serve(ctx)
}

// dial connects to a target of the first tunnel, when that is up.
func (s *session) dial(ctx context.Context, target string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	t := s.tunnels[0]
	err := t.await(ctx)
	if err != nil {
		return nil, s.dialCause(err)
	}
	conn, err := t.net.DialContext(ctx, "tcp", target)
	if err != nil {
		return nil, s.dialCause(err)
	}
	return conn, nil
}

// dialCause is why a target of the first tunnel can't be reached, and what to do about it.
func (s *session) dialCause(err error) error {
	var op *net.OpError
	var name *net.DNSError
	switch {
	case errors.As(err, &name):
		return errors.New(name.Err)
	case errors.Is(err, wireguard.ErrNoPeer):
		return fmt.Errorf("no peer has this address in its AllowedIPs; add it in %s", s.place)
	case errors.Is(err, syscall.ENETUNREACH):
		return fmt.Errorf("the tunnel has no address of this family; add one in %s", s.place)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		if ok, reason := s.tunnels[0].ready(); !ok {
			return errors.New(reason)
		}
		return errors.New("no answer")
	case errors.As(err, &op):
		return streamError(op.Err)
	}
	return err
}

// splice carries what is read to the target, and what the target says to stdout, until both have ended, or for
// leaveTime after ctx. It closes both but stdin, from which a read may be left that waits.
func splice(ctx context.Context, target net.Conn, stdin io.Reader, stdout io.Writer) error {
	defer target.Close()
	leave := context.AfterFunc(ctx, func() { _ = target.SetDeadline(time.Now().Add(leaveTime)) })
	defer leave()
	up := make(chan error, 1)
	go func() {
		_, err := io.Copy(target, stdin)
		_ = forward.CloseWrite(target) // fails only when the target is gone, which the other direction sees
		up <- err
	}()
	_, err := io.Copy(stdout, target)
	if unread := errors.Is(err, syscall.EPIPE); unread || err != nil && ctx.Err() != nil {
		// Nobody reads stdout any more; the target is still to hear the rest, and its end.
		_ = target.SetDeadline(time.Now().Add(leaveTime))
		_, _ = io.Copy(io.Discard, target) // how it ends makes no difference to anyone
		return left()
	}
	if err != nil {
		return streamError(err)
	}
	if out, ok := stdout.(io.Closer); ok {
		out.Close()
	}
	if isTerminal(stdin) {
		return nil // nobody would think of typing an end for what has ended
	}
	select {
	case err := <-up:
		return streamError(err)
	case <-ctx.Done():
		return nil
	case <-time.After(halfClosedTime):
		return nil
	}
}

// streamError is an error without the system call that met it.
func streamError(err error) error {
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Err
	}
	return err
}

// isTerminal reports whether somebody may be typing.
func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
