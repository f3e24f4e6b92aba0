//go:build linux

package container

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// packages are what the test needs of Debian.
const packages = "podman runc containernetworking-plugins catatonit netavark aardvark-dns"

// settings are for hosts whose control groups crun refuses, and that have no higher limits to give.
const settings = `[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
[engine]
runtime = "runc"
`

// podman runs containers whose images, networks and all else are in a folder of the test.
type podman struct {
	dir  string
	path string
}

// newPodman skips the test where there is no podman, or fails it where nothing may be skipped.
func newPodman(t *testing.T) *podman {
	t.Helper()
	missing := t.Skip
	if os.Getenv("CI") == "true" {
		missing = t.Fatal
	}
	for _, program := range []string{"podman", "runc", "catatonit"} {
		if _, err := exec.LookPath(program); err != nil {
			missing("this test needs " + program + ": install the packages " + packages)
		}
	}
	if os.Getuid() != 0 {
		missing("this test runs containers as root: podman needs that where users have no subordinate IDs")
	}
	path, _ := exec.LookPath("podman")
	p := &podman{dir: t.TempDir(), path: path}
	for _, name := range []string{"networks", "empty"} {
		if err := os.Mkdir(filepath.Join(p.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(p.dir, "containers.conf"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// command is a podman command in the test's own storage.
func (p *podman) command(ctx context.Context, args ...string) *exec.Cmd {
	in := func(name string) string { return filepath.Join(p.dir, name) }
	cmd := exec.CommandContext(ctx, p.path, append([]string{
		"--root", in("storage"), "--runroot", in("run"), "--storage-driver", "vfs", "--network-config-dir", in("networks"),
	}, args...)...)
	cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+in("containers.conf"))
	return cmd
}

// must runs a podman command and returns what it printed, without the newline.
func (p *podman) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := p.try(t.Context(), args...)
	if err != nil {
		t.Fatalf("podman %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// try is must for a command that may fail; it then returns what was said on standard error.
func (p *podman) try(ctx context.Context, args ...string) (string, error) {
	cmd := p.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		return stderr.String(), err
	}
	return strings.TrimSuffix(stdout.String(), "\n"), nil
}

// atEnd runs a podman command when the test is over, whatever has become of it.
func (p *podman) atEnd(t *testing.T, args ...string) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if out, err := p.try(ctx, args...); err != nil {
			t.Errorf("podman %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	})
}

// network makes a network and returns the address that the host has in it.
func (p *podman) network(t *testing.T, name string) (host string) {
	t.Helper()
	p.must(t, "network", "create", name)
	p.atEnd(t, "network", "rm", name)
	var networks []struct{ Subnets []struct{ Gateway string } }
	if err := json.Unmarshal([]byte(p.must(t, "network", "inspect", name)), &networks); err != nil {
		t.Fatal(err)
	}
	return networks[0].Subnets[0].Gateway
}

// build builds an image of a Dockerfile whose COPY --from=build takes from a folder.
func (p *podman) build(t *testing.T, image, dockerfile, from string) {
	t.Helper()
	cmd := p.command(t.Context(), "build", "--format", "docker", "--tag", image, "--file", "-", "--build-context", "build="+from, filepath.Join(p.dir, "empty"))
	cmd.Stdin = strings.NewReader(dockerfile)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("podman build: %v\n%s", err, out)
	}
}
