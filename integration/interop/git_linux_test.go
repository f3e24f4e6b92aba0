package interop

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// gitFile is the size in bytes of a file that git can't compress. It is more
// than git sends at once, so that it does not know how much it will send
// (git-config(1), http.postBuffer).
const gitFile = 3 << 20

// TestGit pushes to a repository behind the tunnel and clones it, over SOCKS5
// and HTTP, with TLS and without.
func TestGit(t *testing.T) {
	t.Parallel()
	program := lookPath(t, "git", "git")
	s := openSite(t)
	g := git{path: program, dir: t.TempDir()}
	g.serve(t, s)
	up := startUp(t, s.program, s.conf)
	for i, scheme := range []string{"socks5h", "http"} {
		for j, site := range []string{"http://" + siteName, "https://" + siteName} {
			g.roundTrip(t, s, fmt.Sprintf("r%d%d", i, j), scheme+"://"+up.proxy, site)
		}
	}
	up.terminate(t)
}

// git is the program, and the folder where all its files are.
type git struct {
	path, dir string
}

// run runs git in a folder without the settings of this host, and returns what
// it printed.
func (g git) run(t *testing.T, folder string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), g.path, args...)
	cmd.Dir = filepath.Join(g.dir, folder)
	cmd.Env = append(g.environment(),
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@site.example", "GIT_COMMITTER_NAME=c", "GIT_COMMITTER_EMAIL=c@site.example")
	return strings.TrimSpace(string(run(t, cmd)))
}

func (g git) environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + g.dir, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0"}
}

// serve serves the repositories by git's own CGI program.
func (g git) serve(t *testing.T, s *site) {
	t.Helper()
	backend := &cgi.Handler{
		Path: filepath.Join(g.run(t, "", "--exec-path"), "git-http-backend"), Root: "/git",
		Env: append(g.environment(), "GIT_PROJECT_ROOT="+g.dir, "GIT_HTTP_EXPORT_ALL=1"), Stderr: io.Discard,
	}
	s.mux.HandleFunc("/git/", func(w http.ResponseWriter, r *http.Request) {
		// CGI wants a length before the body (RFC 3875, section 4.1.2).
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // git notices
		}
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
		backend.ServeHTTP(w, r)
	})
}

// roundTrip makes a repository, pushes it to the site, and clones it from
// there.
func (g git) roundTrip(t *testing.T, s *site, name, proxy, site string) {
	t.Helper()
	served, pushed, cloned := name+".git", name+"-pushed", name+"-cloned"
	url := site + "/git/" + served
	through := []string{"-c", "http.proxy=" + proxy, "-c", "http.sslCAInfo=" + s.cert}
	g.run(t, "", "init", "--quiet", "--bare", "--initial-branch=main", served)
	g.run(t, served, "config", "http.receivepack", "true") // of whoever may reach it

	g.run(t, "", "init", "--quiet", "--initial-branch=main", pushed)
	text, err := io.ReadAll(speech(seedFrom, gitFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(g.dir, pushed, "file"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	g.run(t, pushed, "add", "file")
	g.run(t, pushed, "commit", "--quiet", "--message=one file")
	s.requests()
	g.run(t, pushed, append(through, "push", "--quiet", url, "main")...)
	g.run(t, "", append(through, "clone", "--quiet", url, cloned)...)

	// A commit's name is a hash of all that is in it.
	commit := g.run(t, pushed, "rev-parse", "HEAD")
	if got := g.run(t, cloned, "rev-parse", "HEAD"); got != commit {
		t.Errorf("%s by %s: the commit pushed is %s, and the one cloned is %s", url, proxy, commit, got)
	}
	g.run(t, cloned, "fsck", "--strict")
	got, err := os.ReadFile(filepath.Join(g.dir, cloned, "file"))
	if err != nil || !bytes.Equal(got, text) {
		t.Errorf("%s by %s: the file cloned is not the one pushed: %d bytes, %v", url, proxy, len(got), err)
	}
	seen := s.requests()
	for _, service := range []string{"git-receive-pack", "git-upload-pack"} {
		if want := "POST HTTP/1.1 " + url + "/" + service; !slices.Contains(seen, want) {
			t.Errorf("by %s the server saw %q, want %q among them", proxy, seen, want)
		}
	}
}
