package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestSSH has ssh connect by `wimble connect` to an sshd behind the tunnel: a
// command, 1 MiB there and back, an exit status, and a port where nobody is.
func TestSSH(t *testing.T) {
	t.Parallel()
	client, keygen := lookPath(t, "ssh", "openssh-client"), lookPath(t, "ssh-keygen", "openssh-client")
	server := lookPath(t, "sshd", "openssh-server")
	s := openSite(t)
	d := newSSHD(t, server, keygen)
	d.serve(t, s)
	config := d.clientConfig(t, s)
	ssh := func(host string, args ...string) *exec.Cmd {
		return exec.CommandContext(t.Context(), client, append([]string{"-F", config, host}, args...)...)
	}
	for _, host := range []string{siteName, "10.7.0.2", "fd07::2"} {
		if got := string(run(t, ssh(host, "echo reached"))); got != "reached\n" {
			t.Errorf("ssh %s: %q", host, got)
		}
	}

	text, err := io.ReadAll(speech(seedFrom, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	there := ssh(siteName, "cat")
	there.Stdin = bytes.NewReader(text)
	if got := run(t, there); !bytes.Equal(got, text) {
		t.Errorf("%d bytes went there and %d came back, or others", len(text), len(got))
	}
	// Here the far side ends both streams, right behind the last byte.
	if got := run(t, ssh(siteName, "head -c 1048576 /dev/zero")); !bytes.Equal(got, make([]byte, 1<<20)) {
		t.Errorf("of 1 MiB %d bytes came, or others", len(got))
	}

	const sshFails = 255
	for _, tt := range []struct {
		cmd  *exec.Cmd
		code int
		says string
	}{
		{ssh(siteName, "exit 7"), 7, ""},
		// This one is last: it takes less time than wireguard-go wants between
		// two handshakes.
		{ssh(siteName, "-p", "23", "true"), sshFails, "wimble: " + siteName + ":23: connection refused"},
	} {
		out, err := tt.cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != tt.code || !strings.Contains(string(out), tt.says) {
			t.Errorf("ssh %v: %v and %q, want exit code %d and %q", tt.cmd.Args[3:], err, out, tt.code, tt.says)
		}
	}
}

// sshd is a server of the test's own, with its keys.
type sshd struct {
	path, dir string
	user      string // the only one who can log in, as sshd can start nothing for others
}

func newSSHD(t *testing.T, path, keygen string) *sshd {
	t.Helper()
	who, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	d := &sshd{path: path, dir: t.TempDir(), user: who.Username}
	for _, key := range []string{"host", "client"} {
		run(t, exec.CommandContext(t.Context(), keygen, "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", d.file(key)))
	}
	d.write(t, "sshd_config", fmt.Sprintf(`HostKey %s
AuthorizedKeysFile %s
StrictModes no
UsePAM no
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
`, d.file("host"), d.file("client.pub")))
	if os.Getuid() == 0 {
		separate(t)
	}
	return d
}

// separate makes the folder that sshd wants to be empty (sshd(8), /run/sshd),
// which otherwise comes with its service.
func separate(t *testing.T) {
	t.Helper()
	const folder = "/run/sshd"
	err := os.Mkdir(folder, 0o755)
	switch {
	case err == nil:
		t.Cleanup(func() { _ = os.Remove(folder) }) // somebody may use it by now
	case !errors.Is(err, os.ErrExist):
		t.Fatal(err)
	}
}

func (d *sshd) file(name string) string { return filepath.Join(d.dir, name) }

func (d *sshd) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(d.file(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serve starts an sshd for each connection to port 22 behind the tunnel. None
// of them listens.
func (d *sshd) serve(t *testing.T, s *site) {
	t.Helper()
	var conns sync.WaitGroup
	t.Cleanup(conns.Wait)
	for _, inside := range theirsInside {
		ln, err := s.peer.Listen(t.Context(), "tcp", at(inside, 22))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		conns.Go(func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				conns.Go(func() { d.serveConn(t, c) })
			}
		})
	}
}

// serveConn serves one connection until its sshd ends, which it does when it has
// heard its client leave.
func (d *sshd) serveConn(t *testing.T, c net.Conn) {
	// Beyond the end of the test, so that the last one hears its client leave.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	var says bytes.Buffer
	cmd := exec.CommandContext(ctx, d.path, "-i", "-e", "-f", d.file("sshd_config"))
	cmd.Stdout, cmd.Stderr = c, &says
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Error(err)
		return
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		_, _ = io.Copy(stdin, c) // either is closed by the other's end
		stdin.Close()
	})
	// It takes a client that says goodbye for an error, too.
	if err := cmd.Run(); err != nil && !strings.Contains(says.String(), "Disconnected from user") {
		t.Errorf("sshd did not hear that its client left: %v: %s", err, &says)
	}
	c.Close()
	reader.Wait()
}

// clientConfig writes what ssh needs to know.
func (d *sshd) clientConfig(t *testing.T, s *site) (file string) {
	t.Helper()
	hostKey, err := os.ReadFile(d.file("host.pub"))
	if err != nil {
		t.Fatal(err)
	}
	d.write(t, "known_hosts", "behind "+string(hostKey))
	connect := fmt.Sprintf("%s connect %s", s.program, s.conf)
	d.write(t, "ssh_config", fmt.Sprintf(`Host *
  ProxyCommand %s [%%h]:%%p
  User %s
  HostKeyAlias behind
  UserKnownHostsFile %s
  StrictHostKeyChecking yes
  IdentityFile %s
  IdentitiesOnly yes
  BatchMode yes
`, connect, d.user, d.file("known_hosts"), d.file("client")))
	return d.file("ssh_config")
}
