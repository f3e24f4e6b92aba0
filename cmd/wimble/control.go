package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wimble-proxy/wimble/forward"
)

// The requests that a control socket takes. A request is one line; the answer is a line, "ok" or why not, and then, if
// it is "ok", what was asked for, to the end of the stream.
const (
	askStatus = "status" // the status, in JSON
	askProbe  = "probe"  // the same, after tunnels that were silent for long have been tried
)

const (
	answerOK    = "ok"
	controlTime = 15 * time.Second // for a request and its answer
	maxRequest  = 1024             // bytes
)

// control is the socket by which other processes of the same user ask a running instance.
type control struct {
	session *session
	ln      net.Listener
	accept  forward.Acceptor
}

// openControl opens the control socket of a session. Its error is no reason not to run.
func (s *session) openControl(ctx context.Context) (*control, error) {
	dir, err := makeRunDir(runDirs())
	if err != nil {
		return nil, err
	}
	path := socketPath(dir, s.name)
	ln, err := s.host.ListenControl(ctx, path)
	if err != nil && exists(path) {
		if other, err := s.ask(ctx, path, askStatus); err == nil {
			return nil, fmt.Errorf("%s: process %d has that name already, and is asked in place of this one", path, other.PID)
		}
		_ = os.Remove(path) // of an instance that was killed; if this fails, so does what follows
		ln, err = s.host.ListenControl(ctx, path)
	}
	if err != nil {
		return nil, err
	}
	c := &control{session: s, ln: ln, accept: forward.Acceptor{GraceTimeout: -1, Logger: s.console.log}}
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return nil, err
	}
	return c, nil
}

func socketPath(dir, name string) string { return filepath.Join(dir, name+".sock") }

// serve answers requests until ctx ends, and removes the socket then.
func (c *control) serve(ctx context.Context) error {
	return c.accept.Serve(ctx, c.ln, c.answer)
}

// answer answers the request of one connection.
func (c *control) answer(ctx context.Context, conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(controlTime))
	if !fromUs(conn) {
		fmt.Fprintln(conn, "only the user that it runs as may ask")
		return
	}
	line, err := bufio.NewReader(io.LimitReader(conn, maxRequest)).ReadString('\n')
	if err != nil {
		return
	}
	switch strings.TrimSuffix(line, "\n") {
	case askProbe:
		c.session.probe(ctx)
		fallthrough
	case askStatus:
		fmt.Fprintln(conn, answerOK)
		_ = json.NewEncoder(conn).Encode(c.session.status()) // fails only when the other is gone
	default:
		fmt.Fprintln(conn, "it does not know this request")
	}
}

// fromUs reports whether a connection comes from the user that we run as.
func fromUs(conn net.Conn) bool {
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return false
	}
	same := false
	err = raw.Control(func(fd uintptr) { same = sameUser(fd) })
	return err == nil && same
}
