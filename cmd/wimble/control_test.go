//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/netstack"
)

// runs runs wimble to its end, as another process of the user of p, and returns its exit code and what it said.
func (p *process) runs(t *testing.T, args ...string) (code int, said string) {
	t.Helper()
	cmd := exec.Command(p.cmd.Path)
	cmd.Args = append([]string{"wimble"}, args...)
	cmd.Dir, cmd.Env = p.cmd.Dir, p.cmd.Env
	out, _ := cmd.CombinedOutput() // the code says it all
	return cmd.ProcessState.ExitCode(), string(out)
}

// TestWait: who waits is told as soon as there is something to use, and a health check agrees.
func TestWait(t *testing.T) {
	t.Parallel()
	_, _, dir := newFarEnd(t)
	p := start(t, dir, "up", "-D", "0", "wg0.conf")
	for _, args := range [][]string{{"wait"}, {"wait", "wg0"}, {"healthcheck"}, {"healthcheck", "wg0.conf"}} {
		if code, said := p.runs(t, args...); code != 0 || said != "" {
			t.Errorf("%v: exit code %d, and it said %q", args, code, said)
		}
	}
	if code, said := p.runs(t, "healthcheck", "wg1"); code != 1 || !strings.HasPrefix(said, "wimble: no instance of that name runs (its control socket would be in ") {
		t.Errorf("of another name: exit code %d, and it said %q", code, said)
	}
	p.endsWell(t, syscall.SIGTERM)
	if files, err := os.ReadDir(filepath.Join(p.runtime, "wimble")); err != nil || len(files) > 0 {
		t.Errorf("in the folder of the control socket are %v, %v", files, err)
	}
	if code, said := p.runs(t, "healthcheck"); code != 1 || !strings.HasPrefix(said, "wimble: no instance runs (its control socket would be in ") {
		t.Errorf("after the end: exit code %d, and it said %q", code, said)
	}
}

// TestUnhealthy: a tunnel whose peer never answered can't be used, and can as soon as it does.
func TestUnhealthy(t *testing.T) {
	t.Parallel()
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	near, far, err := demoTunnels()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	endpoint := silent.LocalAddr().(*net.UDPAddr)
	writeConf(t, dir, near, endpoint.String())
	p := start(t, dir, "up", "-D", "0", "wg0.conf")
	want := fmt.Sprintf("tunnel wg0: no handshake with %v yet\n", endpoint)
	p.says(t, "no handshake with") // which is later than all that it needs to answer
	if code, said := p.runs(t, "healthcheck"); code != 1 || said != "wimble: "+want {
		t.Errorf("exit code %d, and it said %q", code, said)
	}
	if code, said := p.runs(t, "wait", "--timeout", "100ms"); code != 124 || !strings.HasPrefix(said, "wimble: not ready in 100ms: ") {
		t.Errorf("exit code %d, and it said %q", code, said)
	}
	silent.Close()
	far.ListenPort = uint16(endpoint.Port)
	openFar(t, far)
	if code, said := p.runs(t, "wait"); code != 0 || said != "" {
		t.Errorf("exit code %d, and it said %q", code, said)
	}
	p.endsWell(t, syscall.SIGTERM)
}

// TestControlSocket: what it answers, whom, and who has it.
func TestControlSocket(t *testing.T) {
	t.Parallel()
	end, near, dir := newFarEnd(t)
	p := start(t, dir, "up", "-D", "0", "wg0.conf")
	p.says(t, proxyLine)
	path := filepath.Join(p.runtime, "wimble", "wg0.sock")
	for file, mode := range map[string]os.FileMode{filepath.Dir(path): 0o700, path: 0o600} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: mode %v, %v, want %v", file, info.Mode().Perm(), err, mode)
		}
	}

	for request, want := range map[string]string{
		"frobnicate":              "it does not know this request\n",
		"status":                  "ok\n{",
		strings.Repeat("x", 2000): "",
	} {
		if answer := askRaw(t, path, request); !strings.HasPrefix(answer, want) || answer != "" && want == "" {
			t.Errorf("%.20s: the answer is %q", request, answer)
		}
	}
	var s status
	if err := json.Unmarshal([]byte(strings.TrimPrefix(askRaw(t, path, "status"), "ok\n")), &s); err != nil {
		t.Fatal(err)
	}
	peer := s.Tunnels[0].Peers[0]
	if s.Name != "wg0" || s.PID != p.cmd.Process.Pid || !s.Ready || len(s.Listeners) != 1 || s.Listeners[0].Kind != "proxy" ||
		s.Tunnels[0].PublicKey != near.PrivateKey.Public().String() || peer.PublicKey != near.Peers[0].PublicKey.String() ||
		peer.Endpoint.Port() != end.net.Device().ListenPort() || peer.LastHandshake.IsZero() || peer.Sent == 0 {
		t.Errorf("the status is %+v", s)
	}

	// A second instance of the name does without, and one after a killed one has it again.
	q := startAt(t, dir, p.runtime, "up", "-D", "0", "wg0.conf")
	q.says(t, fmt.Sprintf(`^warning: there is no control socket, so wait and healthcheck can't ask this instance: %s: process %d has that name already, and is asked in place of this one$`, path, p.cmd.Process.Pid))
	q.endsWell(t, syscall.SIGTERM)
	p.signal(t, syscall.SIGKILL)
	p.wait()
	if code, said := p.runs(t, "healthcheck", "wg0"); code != 1 {
		t.Errorf("of a killed instance: exit code %d, and it said %q", code, said)
	}
	r := startAt(t, dir, p.runtime, "up", "-D", "0", "wg0.conf")
	r.says(t, proxyLine)
	if code, said := r.runs(t, "wait", "wg0"); code != 0 {
		t.Errorf("after a killed instance: exit code %d, and it said %q", code, said)
	}
	r.endsWell(t, syscall.SIGTERM)
	if strings.Contains(r.stderr.String(), "warning") {
		t.Errorf("after a killed instance it said:\n%s", r.stderr.String())
	}
}

// askRaw sends a line to a control socket and returns all that comes back.
func askRaw(t *testing.T, path, request string) string {
	t.Helper()
	answer, err := askLine("unix", path, request)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// TestOtherUser: a process of another user gets no answer, even where it can reach the socket.
func TestOtherUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Log("only root can become another user; tested as far as this user can")
	}
	_, _, dir := newFarEnd(t)
	p := start(t, dir, "up", "-D", "0", "wg0.conf")
	p.says(t, proxyLine)
	path := filepath.Join(p.runtime, "wimble", "wg0.sock")
	for d := filepath.Dir(path); d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	ask := exec.Command(p.cmd.Path)
	ask.Args = []string{"ask-as-nobody", "unix", path, "status"}
	ask.Env = p.cmd.Env
	answer, err := ask.CombinedOutput()
	want := "only the user that it runs as may ask\n"
	if os.Getuid() != 0 {
		want = "ok\n"
	}
	if err != nil || !strings.HasPrefix(string(answer), want) {
		t.Errorf("the answer is %q, %v; want %q", answer, err, want)
	}
	p.endsWell(t, syscall.SIGTERM)
}

// TestProbe: a tunnel that was silent for long is called on the spot, and keeps the keepalive that it had.
func TestProbe(t *testing.T) {
	t.Parallel()
	near, far, err := demoTunnels()
	if err != nil {
		t.Fatal(err)
	}
	near.Peers[0].Endpoint = fmt.Sprintf("127.0.0.1:%d", openFar(t, far).net.Device().ListenPort())
	quiet := &tunnel{Tunnel: near}
	quiet.greeter = newGreeter(quiet, make(chan meeting, 1))
	if quiet.net, err = netstack.Open(t.Context(), near, netstack.Options{OnEvent: quiet.greeter.event}); err != nil {
		t.Fatal(err)
	}
	defer quiet.net.Close()
	// As after a handshake so long ago that its session has ended.
	quiet.greeter.calls[near.Peers[0].PublicKey] = call{answered: time.Now().Add(-time.Hour)}
	if ok, reason := quiet.ready(); !ok {
		t.Errorf("an idle tunnel is taken for a sick one: %s", reason)
	}
	quiet.probe(t.Context())
	if ok, reason := quiet.ready(); !ok || !quiet.fresh() {
		t.Errorf("after the call: %v, %s", ok, reason)
	}
	if now := quiet.net.Device().Snapshot().Peers[0].Keepalive; now != 0 {
		t.Errorf("it has a keepalive of %v now", now)
	}

	quiet.greeter.calls[near.Peers[0].PublicKey] = call{answered: time.Now().Add(-time.Hour), begun: time.Now().Add(-time.Minute)}
	want := "tunnel demo: no answer from " + near.Peers[0].Endpoint + " for 60.0 s"
	if ok, reason := quiet.ready(); ok || reason != want {
		t.Errorf("of a call without an answer it says %v, %q; want %q", ok, reason, want)
	}
}

// TestReadyWithoutCall: a tunnel that calls nobody can be used when it listens.
func TestReadyWithoutCall(t *testing.T) {
	near, _, err := demoTunnels()
	if err != nil {
		t.Fatal(err)
	}
	if ok, reason := (&tunnel{Tunnel: config.Tunnel{Peers: near.Peers}}).ready(); !ok {
		t.Error(reason)
	}
}
