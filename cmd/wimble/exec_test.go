//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/wimble-proxy/wimble/config"
)

// TestExecSignals: the command gets the signals that exec gets, and exec ends as it does. Nothing is left then.
func TestExecSignals(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		signal syscall.Signal
		script string
		code   int
	}{
		{syscall.SIGTERM, `trap 'exit 3' TERM`, 3},
		{syscall.SIGINT, `trap 'exit 4' INT`, 4},
		{syscall.SIGHUP, `trap 'exit 5' HUP`, 5},
		{syscall.SIGUSR1, `trap 'exit 6' USR1`, 6},
		{syscall.SIGTERM, `true`, exitSignal + int(syscall.SIGTERM)},
	} {
		_, _, dir := newFarEnd(t)
		// It says where the proxy is when the trap is set.
		p := start(t, dir, "exec", "wg0.conf", "--", "sh", "-c", test.script+`; echo "proxy $HTTP_PROXY" >&2; while :; do sleep 0.05; done`)
		proxy := p.says(t, `^proxy http://(127\.0\.0\.1:\d+)$`)[1]
		p.signal(t, test.signal)
		if code := p.wait().ExitCode(); code != test.code {
			t.Errorf("%v to %q: exit code %d, want %d; it said:\n%s", test.signal, test.script, code, test.code, p.stderr.String())
		}
		if c, err := net.Dial("tcp", proxy); err == nil {
			c.Close()
			t.Error("somebody still listens on the proxy's port")
		}
		if files, err := os.ReadDir(p.runtime); err != nil || len(files) > 0 {
			t.Errorf("in the folder of control sockets are %v, %v", files, err)
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
			t.Errorf("in the folder are %v, %v; only wg0.conf was there", files, err)
		}
	}
}

// TestExecInterrupted: who ends exec before the tunnel is up ends it at once.
func TestExecInterrupted(t *testing.T) {
	t.Parallel()
	near, _, err := demoTunnels()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeConf(t, dir, near, "host.onion:51820")
	p := start(t, dir, "exec", "wg0.conf", "--", "true")
	p.says(t, `^tunnel wg0: no address for host\.onion:51820 yet, still trying; `)
	p.signal(t, syscall.SIGTERM)
	p.says(t, `^wimble: interrupted before the command ran$`)
	if code := p.wait().ExitCode(); code != exitExec {
		t.Errorf("exit code %d", code)
	}
}

// TestExecOtherUser: a process of another user is not let through, on the proxy or on a forward (FAULTS A5).
func TestExecOtherUser(t *testing.T) {
	t.Parallel()
	end, _, dir := newFarEnd(t)
	port := freePort(t)
	p := start(t, dir, "exec", "-L", fmt.Sprintf("%d:%v:80", port, farAddress), "wg0.conf", "--", "sh", "-c", `echo "proxy $HTTP_PROXY" >&2; exec sleep 60`)
	proxy := p.says(t, `^proxy http://(127\.0\.0\.1:\d+)$`)[1]
	page := fmt.Sprintf("GET http://%v/ HTTP/1.1\r\nHost: %v\r\nConnection: close\r\n\r", farAddress, farAddress)
	for _, address := range []string{proxy, fmt.Sprintf("127.0.0.1:%d", port)} {
		if answer, err := askLine("tcp", address, page); err != nil || !strings.Contains(answer, end.net.Device().Snapshot().PublicKey.String()) {
			t.Errorf("at %s our own user gets %q, %v", address, answer, err)
		}
	}
	if os.Getuid() == 0 && tellsUsers() {
		for _, address := range []string{proxy, fmt.Sprintf("127.0.0.1:%d", port)} {
			ask := exec.Command(p.cmd.Path)
			ask.Args = []string{"ask-as-nobody", "tcp", address, page}
			ask.Env = p.cmd.Env
			if answer, _ := ask.CombinedOutput(); strings.Contains(string(answer), "HTTP/") { // a reset may come at any time
				t.Errorf("at %s another user gets %q", address, answer)
			}
		}
		p.says(t, `^warning: another user of this host tried to use the tunnel, and was refused$`)
	}
	p.signal(t, syscall.SIGTERM)
	p.wait()
}

// TestExecAsNobody: a user without any right can use it too, and is told from others.
func TestExecAsNobody(t *testing.T) {
	t.Parallel()
	end, near, _ := newFarEnd(t)
	// What the user runs has to be where it can be reached.
	dir, err := os.MkdirTemp("", "wimble")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program, err := os.ReadFile(executable(t))
	if err != nil {
		t.Fatal(err)
	}
	fetch := filepath.Join(dir, "fetch")
	if err := errors.Join(os.WriteFile(fetch, program, 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable(t))
	cmd.Args = []string{"wimble-as-nobody", "exec", "--", fetch, fmt.Sprintf("http://%v/", farAddress)}
	cmd.Dir = dir
	cmd.Env = append(
		os.Environ(), noRaceSleep, "WIREGUARD_PRIVATE_KEY="+near.PrivateKey.Base64(), "WIREGUARD_ADDRESSES="+near.Addresses[0].String(),
		"WIREGUARD_PUBLIC_KEY="+near.Peers[0].PublicKey.String(), "WIREGUARD_ALLOWED_IPS="+near.Peers[0].AllowedIPs[0].String(),
		"WIREGUARD_ENDPOINT_IP=127.0.0.1", fmt.Sprintf("WIREGUARD_ENDPOINT_PORT=%d", end.net.Device().ListenPort()),
	)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "Hello ") {
		t.Errorf("%v, and it said:\n%s", err, out)
	}
}

// freePort is a TCP port that was free just now.
func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// TestExecPassword: where users can't be told apart, the proxy wants the password of its URL, and takes no other.
func TestExecPassword(t *testing.T) {
	near, far, err := demoTunnels()
	if err != nil {
		t.Fatal(err)
	}
	near.Peers[0].Endpoint = fmt.Sprintf("127.0.0.1:%d", openFar(t, far).net.Device().ListenPort())
	p := newPlan("the test", config.Config{Tunnels: []config.Tunnel{near}})
	if err := p.add(additions{proxies: listenFlag{anyPort}}); err != nil {
		t.Fatal(err)
	}
	proxy := &url.URL{Scheme: "http", User: protect(&p.Proxies[0])}
	s := quietApp().newSession(p)
	s.name, s.quiet, s.grace = "", true, -1
	if err := s.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	proxy.Host = s.services[0].ln.Addr().String()
	ended := make(chan error)
	stop := make(chan struct{})
	s.main = func(context.Context) error { <-stop; return nil }
	go func() { ended <- s.serve(t.Context()) }()

	if page := getBy(t, proxy.String()); !strings.HasPrefix(page, "Hello ") {
		t.Errorf("with the password came:\n%s", page)
	}
	for _, user := range []*url.Userinfo{nil, url.UserPassword("wimble", "guess")} {
		proxy.User = user
		if err := quietApp().fetch(t.Context(), proxy, "http://10.77.0.1/", io.Discard); err == nil || !strings.Contains(err.Error(), "407") {
			t.Errorf("as %v: %v", user, err)
		}
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestChildEnvironment: what is replaced, what is removed, and what stays.
func TestChildEnvironment(t *testing.T) {
	ours := []string{"PATH=/bin", "HTTP_PROXY=a", "no_proxy=b", "WIMBLE_CONFIG=c\nd", "WIREGUARD_PRIVATE_KEY=e", "WIREGUARD_NOTE=f", "EMPTY="}
	var kept, proxies []string
	for _, variable := range childEnvironment(ours, "http://127.0.0.1:1") {
		switch name, value, _ := strings.Cut(variable, "="); value {
		case "http://127.0.0.1:1":
			proxies = append(proxies, name)
		case thisHost:
		default:
			kept = append(kept, variable)
		}
	}
	if want := []string{"PATH=/bin", "WIREGUARD_NOTE=f", "EMPTY="}; !slices.Equal(kept, want) {
		t.Errorf("kept are %q, want %q", kept, want)
	}
	if !slices.Equal(proxies, proxyVariables) {
		t.Errorf("set are %q", proxies)
	}
}
