//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/config"
)

// noRaceSleep keeps the race detector from sleeping for a second at the end of each process.
const noRaceSleep = "GORACE=atexit_sleep_ms=0"

// process is a running wimble.
type process struct {
	cmd     *exec.Cmd
	runtime string        // XDG_RUNTIME_DIR
	pipe    io.ReadCloser // standard error
	lines   chan string   // of standard error, closed at its end
	stderr  strings.Builder
}

// start starts wimble in a folder, with its standard error under watch.
func start(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	return startAt(t, dir, t.TempDir(), args...)
}

// startAt is start with a folder for control sockets.
func startAt(t *testing.T, dir, runtime string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(executable(t)), runtime: runtime, lines: make(chan string, 100)}
	p.cmd.Args = append([]string{"wimble"}, args...) // which TestMain goes by
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), noRaceSleep, "XDG_RUNTIME_DIR="+runtime)
	var err error
	if p.pipe, err = p.cmd.StderrPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(p.pipe); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			p.wait()
		}
	})
	return p
}

// executable is this test, which is also the program, by TestMain.
func executable(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self
}

// says waits for a line of standard error that matches, and returns what its groups matched.
func (p *process) says(t *testing.T, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.After(30 * time.Second)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				t.Fatalf("it ended without a line like %q; it said:\n%s", pattern, p.stderr.String())
			}
			fmt.Fprintln(&p.stderr, line)
			if match := re.FindStringSubmatch(line); match != nil {
				return match
			}
		case <-late:
			t.Fatalf("no line like %q in 30 s; it said:\n%s", pattern, p.stderr.String())
		}
	}
}

// wait waits for the end.
func (p *process) wait() *os.ProcessState {
	for line := range p.lines {
		fmt.Fprintln(&p.stderr, line)
	}
	_ = p.cmd.Wait() // the state says it all
	return p.cmd.ProcessState
}

// signal sends a signal.
func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// endsWell interrupts it and expects exit code 0.
func (p *process) endsWell(t *testing.T, by syscall.Signal) {
	t.Helper()
	p.signal(t, by)
	if state := p.wait(); state.ExitCode() != 0 {
		t.Errorf("after %v: %v; it said:\n%s", by, state, p.stderr.String())
	}
}

// newFarEnd is the far end of a tunnel, in this process, and a wg-quick file for the near one in a folder of its own.
func newFarEnd(t *testing.T) (end *farEnd, near config.Tunnel, dir string) {
	t.Helper()
	near, far, err := demoTunnels()
	if err != nil {
		t.Fatal(err)
	}
	end = openFar(t, far)
	dir = t.TempDir()
	writeConf(t, dir, near, fmt.Sprintf("localhost:%d", end.net.Device().ListenPort()))
	return end, near, dir
}

// writeConf writes wg0.conf; "" is no endpoint.
func writeConf(t *testing.T, dir string, near config.Tunnel, endpoint string) {
	t.Helper()
	text := fmt.Sprintf("[Interface]\nPrivateKey = %s\nAddress = %v\n[Peer]\nPublicKey = %v\nAllowedIPs = %v\n",
		near.PrivateKey.Base64(), near.Addresses[0], near.Peers[0].PublicKey, near.Peers[0].AllowedIPs[0])
	if endpoint != "" {
		text += "Endpoint = " + endpoint + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "wg0.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// dialSOCKS connects to a target through a proxy.
func dialSOCKS(t *testing.T, proxy string, target netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	request := append([]byte{5, 1, 0, 5, 1, 0, 1}, target.Addr().AsSlice()...)
	request = append(request, byte(target.Port()>>8), byte(target.Port()))
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 2+10)
	if _, err := io.ReadFull(c, reply); err != nil {
		t.Fatal(err)
	}
	if method, code := reply[1], reply[3]; method != 0 || code != 0 {
		t.Fatalf("the proxy chose method %d and answered %d", method, code)
	}
	return c
}
