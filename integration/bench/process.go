package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// process is a program that the bench started.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
	said  *tail
}

// startProcess starts a program in a network namespace, or with "" in the bench's own. Its standard error is kept for
// the message when something goes wrong.
func startProcess(namespace string, env []string, stdin, stdout *os.File, argv ...string) (*process, error) {
	if namespace != "" {
		// ip replaces itself by the program, which so has its PID.
		argv = append([]string{"ip", "netns", "exec", namespace}, argv...)
	}
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), ended: make(chan struct{}), said: new(tail)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = p.said
	if stdin != nil {
		p.cmd.Stdin = stdin
	}
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	p.cmd.SysProcAttr = attributes()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // it is killed in the end
	}()
	return p, nil
}

// startReady starts a program that prints a line when it is ready, and waits for it.
func startReady(ctx context.Context, namespace string, argv ...string) (*process, error) {
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p, err := startProcess(namespace, nil, nil, in, argv...)
	in.Close()
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	ready := make(chan struct{})
	go func() {
		defer out.Close()
		if _, err := bufio.NewReader(out).ReadString('\n'); err == nil {
			close(ready)
		}
	}()
	select {
	case <-ready:
		return p, nil
	case <-p.ended:
		err = errors.New("it ended")
	case <-time.After(patience):
		err = fmt.Errorf("not ready after %v", patience)
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.kill()
	return nil, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, p.said)
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill ends the program at once.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// tail keeps the last of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte // guarded by mu
}

const tailSize = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	t.text = t.text[max(0, len(t.text)-tailSize):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}

// command runs a program to its end, and fails with what it said.
func command(ctx context.Context, dir string, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, bytes.TrimSpace(out))
	}
	return string(bytes.TrimSpace(out)), nil
}
