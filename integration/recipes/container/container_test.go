//go:build linux

package container

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/netstack"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

const (
	root = "../../.." // of the module
	user = 65532      // of the image

	// The names in the test's own storage. The network's device is the host's, though.
	pod, network = "wimble-test", "wimble-test"

	wimbleImage, appImage = "localhost/wimble", "localhost/app"
)

// restricted are the rights that every container of the test has: none.
var restricted = []string{"--cap-drop=ALL", "--read-only", "--security-opt=no-new-privileges"}

// TestPod: an application without any right reaches a server behind the tunnel, by SOCKS5, by HTTP and by a forward, and
// does so again when the other end of the tunnel was away.
func TestPod(t *testing.T) {
	p := newPodman(t)
	buildImages(t, p)
	far, near := ends(t)
	server := serve(t, far)
	far.ListenPort = server.net.Device().ListenPort() // for its return
	host := p.network(t, network)
	file := configure(t, near, fmt.Sprintf("%s:%d", host, far.ListenPort))

	p.must(t, "pod", "create", "--name", pod, "--network", network)
	p.atEnd(t, "pod", "rm", "--force", pod)
	p.must(t, p.run("--detach", "--name", "wimble", "--volume", file+":/etc/wimble/wimble.toml:ro", wimbleImage)...)
	p.must(t, "exec", "wimble", "/wimble", "wait")
	p.must(t, "healthcheck", "run", "wimble")
	id := p.must(t, "inspect", "--format", "{{.State.Pid}} {{.State.StartedAt}}", "wimble")
	noRights(t, strings.Fields(id)[0])

	reach := func(ctx context.Context) error {
		for proxy, url := range map[string]string{
			"socks5h://127.0.0.1:1080": page, "http://127.0.0.1:1080": page, "": "http://127.0.0.1:8080/",
		} {
			got, err := p.try(ctx, p.run("--rm", "--env", "HTTP_PROXY="+proxy, appImage, url)...)
			if err != nil || got != pageText {
				return fmt.Errorf("%s by %q: got %q, %v", url, proxy, got, err)
			}
		}
		return nil
	}
	if err := reach(t.Context()); err != nil {
		t.Fatalf("%v; wimble says:\n%s", err, logs(p))
	}

	server.close()
	away, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if reach(away) == nil {
		t.Error("the server is reached while it is away")
	}
	serve(t, far)
	back, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for reach(back) != nil {
		if back.Err() != nil {
			t.Fatalf("the server is not reached a minute after its return; wimble says:\n%s", logs(p))
		}
	}
	p.must(t, "exec", "wimble", "/wimble", "healthcheck")
	if now := p.must(t, "inspect", "--format", "{{.State.Pid}} {{.State.StartedAt}}", "wimble"); now != id {
		t.Errorf("it was restarted: %s, then %s", id, now)
	}
}

// run are the arguments that run a container of the pod.
func (p *podman) run(args ...string) []string {
	return append(append([]string{"run", "--pod", pod}, restricted...), args...)
}

// logs is what wimble has said.
func logs(p *podman) string {
	cmd := p.command(context.Background(), "logs", "wimble")
	out, _ := cmd.CombinedOutput() // it is for a failure that is told anyway
	return string(out)
}

// buildImages builds the image of the Dockerfile's last stage, for which this host takes the place of the one before, as
// that needs a registry; and that of the application.
func buildImages(t *testing.T, p *podman) {
	t.Helper()
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	last := strings.LastIndex(string(text), "\nFROM scratch\n")
	if last < 0 {
		t.Fatal("the Dockerfile does not end FROM scratch")
	}
	out := t.TempDir()
	goBuild(t, "./cmd/wimble", filepath.Join(out, "out", "wimble"))
	goBuild(t, "./integration/recipes/container/app", filepath.Join(out, "out", "app"))
	if err := os.MkdirAll(filepath.Join(out, "out", "run", "wimble"), 0o700); err != nil {
		t.Fatal(err)
	}
	p.build(t, wimbleImage, string(text[last:]), out)
	p.build(t, appImage, fmt.Sprintf("FROM scratch\nCOPY --from=build /out/app /app\nUSER %d\nENTRYPOINT [\"/app\"]\n", user+1), out)
}

// goBuild builds a static program.
func goBuild(t *testing.T, pkg, to string) {
	t.Helper()
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", to, pkg)
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
}

// ends are the two ends of a tunnel. Where the far one listens is still to be found.
func ends(t *testing.T) (far, near config.Tunnel) {
	t.Helper()
	for end, address := range map[*config.Tunnel]string{&far: "10.77.0.1/32", &near: "10.77.0.2/32"} {
		private, err := key.NewPrivate(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		end.PrivateKey, end.Addresses = private, []netip.Prefix{netip.MustParsePrefix(address)}
	}
	far.Peers = []config.Peer{{PublicKey: near.PrivateKey.Public(), AllowedIPs: near.Addresses}}
	near.Peers = []config.Peer{{PublicKey: far.PrivateKey.Public(), AllowedIPs: far.Addresses}}
	return far, near
}

const (
	page     = "http://10.77.0.1/"
	pageText = "reached through the tunnel"
)

// farEnd is the other end of the tunnel, with a server behind it.
type farEnd struct {
	net    *netstack.Net
	server http.Server
}

// serve brings the far end up, with the page.
func serve(t *testing.T, tunnel config.Tunnel) *farEnd {
	t.Helper()
	n, err := netstack.Open(t.Context(), tunnel, netstack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	end := &farEnd{net: n, server: http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, pageText) // the client notices
	})}}
	t.Cleanup(end.close)
	ln, err := n.Listen(t.Context(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = end.server.Serve(ln) }() // http.ErrServerClosed
	return end
}

// close ends it without a word to the other end, as WireGuard has none.
func (f *farEnd) close() {
	f.server.Close()
	f.net.Close()
}

// configure writes the configuration for the container, which its user alone can read.
func configure(t *testing.T, near config.Tunnel, endpoint string) (file string) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "wimble.toml")
	text := fmt.Sprintf(`[[tunnel]]
name = "near"
private_key = "%s"
addresses = ["%v"]

[[tunnel.peer]]
public_key = "%v"
endpoint = "%s"
allowed_ips = ["%v"]

[[proxy]]
listen = "127.0.0.1:1080"

[[forward]]
listen = "127.0.0.1:8080"
target = "10.77.0.1:80"
`, near.PrivateKey.Base64(), near.Addresses[0], near.Peers[0].PublicKey, endpoint, near.Peers[0].AllowedIPs[0])
	if err := os.WriteFile(file, []byte(text), 0o400); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, user, user); err != nil {
		t.Fatal(err)
	}
	return file
}

// noRights checks what a process of the image may do: nothing (FAULTS P-7).
func noRights(t *testing.T, pid string) {
	t.Helper()
	for file, wants := range map[string][]string{
		"status":    {`(?m)^CapEff:\t0+$`, `(?m)^CapBnd:\t0+$`, `(?m)^NoNewPrivs:\t1$`, fmt.Sprintf(`(?m)^Uid:\t%d\t`, user)},
		"mountinfo": {`(?m)^\d+ \d+ \d+:\d+ \S+ / ro[, ]`},
	} {
		text, err := os.ReadFile(filepath.Join("/proc", pid, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !regexp.MustCompile(want).Match(text) {
				t.Errorf("/proc/%s/%s has no line like %q:\n%s", pid, file, want, text)
			}
		}
	}
}
