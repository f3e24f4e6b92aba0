package interop

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/wimble-proxy/wimble/config"
)

// nobody is the user that the program runs as when the tests run as root.
const nobody = 65534

// process is a running `wimble up`.
type process struct {
	cmd    *exec.Cmd
	proxy  string        // where its first proxy listens
	listen []string      // where each of its proxies listens, and then each of its forwards
	said   *bytes.Buffer // its standard error, whole after terminate
	ended  chan struct{} // closed when it has closed its standard error
}

// startUp starts `wimble up` with one proxy and waits until that listens.
func startUp(t *testing.T, program, file string) *process {
	t.Helper()
	return startUpWith(t, program, file, 1, "-D", "127.0.0.1:0")
}

// startUpWith starts `wimble up` with what the flags say, and waits until its
// listeners, which are so many, listen.
func startUpWith(t *testing.T, program, file string, listeners int, flags ...string) *process {
	t.Helper()
	p := &process{said: new(bytes.Buffer), ended: make(chan struct{})}
	p.cmd = wimbleCommand(t, program, append([]string{"up", file}, flags...)...)
	p.cmd.Dir = filepath.Dir(file)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listening := make(chan string, listeners)
	go func() {
		defer close(p.ended)
		lines := bufio.NewScanner(io.TeeReader(stderr, p.said))
		for lines.Scan() {
			if m := listenerLine.FindStringSubmatch(lines.Text()); m != nil {
				listening <- m[1]
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for len(p.listen) < listeners {
		select {
		case at := <-listening:
			p.listen = append(p.listen, at)
			continue
		case <-p.ended:
		case <-ctx.Done():
			_ = p.cmd.Process.Kill() // it may have ended
			<-p.ended
		}
		t.Fatalf("wimble up did not get as far as its listeners: %v\n%s", p.cmd.Wait(), p.said)
	}
	p.proxy = p.listen[0]
	return p
}

// wimbleCommand is a command of the program as a user who may do nothing
// special, whose other instances it does not meet.
func wimbleCommand(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	runDir := t.TempDir()
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+runDir)
	asNobody(t, cmd, runDir)
	return cmd
}

// asNobody has a command run as nobody, to whom it gives a folder, if the tests
// run as a user who can do that.
func asNobody(t *testing.T, cmd *exec.Cmd, folder string) {
	t.Helper()
	if !privileged() {
		return
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	giveToNobody(t, folder)
	// The folder above is the test's own, and closed to others.
	if err := os.Chmod(filepath.Dir(folder), 0o755); err != nil {
		t.Fatal(err)
	}
}

func giveToNobody(t *testing.T, path string) {
	t.Helper()
	if err := os.Chown(path, nobody, nobody); err != nil {
		t.Fatal(err)
	}
}

// privileged reports whether the tests can start programs as another user. In
// a namespace with one user they can't.
func privileged() bool { return os.Getuid() == 0 && os.Getenv(inNamespace) == "" }

var listenerLine = regexp.MustCompile(`^(?:proxy|forward) .* on ([0-9.]+:[0-9]+)`)

// terminate ends the program as an operator does, which it takes for success.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("wimble up after SIGTERM: %v\n%s", err, p.said)
	}
}

// noCapabilities checks that a process has none.
func noCapabilities(t *testing.T, pid int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^CapEff:\t0+$`).Match(status) {
		t.Errorf("wimble up runs with capabilities:\n%s", status)
	}
}

// sharedDir is a temporary folder that other users can enter.
func sharedDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func buildWimble(t *testing.T, dir string) (program string) {
	t.Helper()
	program = filepath.Join(dir, "wimble")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, "./cmd/wimble")
	build.Dir = filepath.Join("..", "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	run(t, build)
	return program
}

// writeWireGuard writes a configuration as a wg-quick file that only the
// program's user can read.
func writeWireGuard(t *testing.T, dir string, c config.Tunnel) (file string) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "[Interface]\nPrivateKey = %s\n", c.PrivateKey.Base64())
	for _, a := range c.Addresses {
		fmt.Fprintf(&b, "Address = %v\n", a)
	}
	for _, a := range c.DNS {
		fmt.Fprintf(&b, "DNS = %v\n", a)
	}
	for _, p := range c.Peers {
		fmt.Fprintf(&b, "\n[Peer]\nPublicKey = %v\nPresharedKey = %s\nEndpoint = %s\n", p.PublicKey, p.PresharedKey.Base64(), p.Endpoint)
		for _, a := range p.AllowedIPs {
			fmt.Fprintf(&b, "AllowedIPs = %v\n", a)
		}
	}
	file = filepath.Join(dir, "wg0.conf")
	writeFile(t, file, b.String())
	return file
}

// writeFile writes a file that only the program's user can read.
func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if privileged() {
		giveToNobody(t, name)
	}
}
