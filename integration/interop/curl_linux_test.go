package interop

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// curlRoutes are the ways by which curl goes through a proxy.
var curlRoutes = []struct {
	name  string
	flags []string // before the address of the proxy
	// forwards says that the proxy sees requests without TLS, and so passes
	// them on in its own words.
	forwards bool
	// large is where it carries a lot, which takes a while.
	large string
}{
	{"SOCKS5 with names", []string{"--socks5-hostname"}, false, "https://" + siteName},
	// curl looks the name up itself here: it is told the address.
	{"SOCKS5 with addresses", []string{"--resolve", siteName + ":80:10.7.0.2", "--resolve", siteName + ":443:10.7.0.2", "--socks5"}, false, "http://10.7.0.2"},
	{"HTTP", []string{"--proxy"}, true, "http://" + siteName},
	{"HTTP with CONNECT", []string{"--proxytunnel", "--proxy"}, false, "https://[fd07::2]"},
}

// curl is the program, and how it is started.
type curl struct {
	path string
	cert string
}

func newCurl(t *testing.T, s *site) curl {
	t.Helper()
	return curl{lookPath(t, "curl", "curl"), s.cert}
}

// command has an environment without a proxy, and gives up in the end.
func (c curl) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.path, append([]string{
		"-q", "-sS", "--fail", "--noproxy", "", "--cacert", c.cert, "--max-time", fmt.Sprint(int(patience.Seconds())),
	}, args...)...)
	cmd.Env = []string{"LC_ALL=C"}
	return cmd
}

// TestCurl goes with curl through `wimble up`, which has no capability, to the
// servers behind wireguard-go: each way through the proxy to each kind of
// target.
func TestCurl(t *testing.T) {
	t.Parallel()
	s := openSite(t)
	c := newCurl(t, s)
	up := startUp(t, s.program, s.conf)
	noCapabilities(t, up.cmd.Process.Pid)
	for _, route := range curlRoutes {
		t.Run(route.name, func(t *testing.T) {
			flags := append(route.flags[:len(route.flags):len(route.flags)], up.proxy)
			for _, scheme := range []string{"http", "https"} {
				passedOn := route.forwards && scheme == "http"
				for _, host := range []string{siteName, "10.7.0.2", "[fd07::2]"} {
					c.small(t, s, flags, scheme+"://"+host, passedOn)
				}
			}
			c.large(t, s, flags, route.large)
		})
	}
	c.pac(t, up)
	up.terminate(t)
	if asked := s.names.questions(); !slices.Contains(asked, siteName+". A") {
		t.Errorf("the name server in the tunnel was asked %q", asked)
	}
	if strings.Contains(up.said.String(), s.ours.PrivateKey.Base64()) {
		t.Error("the program printed its private key")
	}
}

// small is a page, its header alone, and the page in HTTP/1.0. A request that
// the proxy has passed on is in HTTP/1.1 (RFC 9110, section 2.5).
func (c curl) small(t *testing.T, s *site, flags []string, url string, passedOn bool) {
	t.Helper()
	for _, tt := range []struct{ flag, method, protocol, want string }{
		{"--http1.1", "GET", "HTTP/1.1", `^` + pageText + `$`},
		{"--head", "HEAD", "HTTP/1.1", `(?is)^(?:HTTP/1.1 200 Connection established\r\n\r\n)?HTTP/1.1 200 OK\r\n.*Content-Length: ` + fmt.Sprint(len(pageText)) + `\r\n.*\r\n$`},
		{"--http1.0", "GET", "HTTP/1.0", `^` + pageText + `$`},
	} {
		if passedOn {
			tt.protocol = "HTTP/1.1"
		}
		page := run(t, c.command(t.Context(), append(flags[:len(flags):len(flags)], tt.flag, url+"/")...))
		if !regexp.MustCompile(tt.want).Match(page) {
			t.Errorf("curl %s %s: got %q, want %s", tt.flag, url, page, tt.want)
		}
		want := fmt.Sprintf("%s %s %s/", tt.method, tt.protocol, url)
		if seen := s.requests(); len(seen) != 1 || seen[0] != want {
			t.Errorf("curl %s %s: the server saw %q, want %q alone", tt.flag, url, seen, want)
		}
	}
}

// large is a body each way, the one that goes up of a length that curl does not
// know.
func (c curl) large(t *testing.T, s *site, flags []string, url string) {
	t.Helper()
	_, want, err := digest(speech(seedTo, amount))
	if err != nil {
		t.Fatal(err)
	}
	body := run(t, c.command(t.Context(), append(flags[:len(flags):len(flags)], url+"/body")...))
	if sha256.Sum256(body) != want {
		t.Errorf("%s/body: %d bytes with SHA-256 %x, want %d with %x", url, len(body), sha256.Sum256(body), amount, want)
	}
	_, sent, err := digest(speech(seedFrom, amount))
	if err != nil {
		t.Fatal(err)
	}
	upload := c.command(t.Context(), append(flags[:len(flags):len(flags)], "-T", "-", url+"/body")...)
	upload.Stdin = speech(seedFrom, amount)
	if got, want := string(run(t, upload)), fmt.Sprintf("[chunked] %d %x <nil>", amount, sent); got != want {
		t.Errorf("%s/body: the server was sent %s, want %s", url, got, want)
	}
	s.requests()
}

// pac takes the proxy from the file that browsers take it from.
func (c curl) pac(t *testing.T, up *process) {
	t.Helper()
	script := string(run(t, c.command(t.Context(), "http://"+up.proxy+"/proxy.pac")))
	found := regexp.MustCompile(`return "PROXY ([^";]+)";`).FindStringSubmatch(script)
	if found == nil || found[1] != up.proxy {
		t.Fatalf("the file names the proxy %q, want %s:\n%s", found, up.proxy, script)
	}
	if page := string(run(t, c.command(t.Context(), "--proxy", found[1], "http://"+siteName+"/"))); page != pageText {
		t.Errorf("the page is %q by the proxy of the file, want %q", page, pageText)
	}
}

// TestCurlUsers has a proxy with users. What curl says about a wrong one is in
// its own words; its exit codes are documented.
func TestCurlUsers(t *testing.T) {
	t.Parallel()
	s := openSite(t)
	c := newCurl(t, s)
	users := filepath.Join(s.dir, "users")
	writeFile(t, users, "ann:correct horse\n")
	up := startUpWith(t, s.program, s.writeTOML(t, "\n[[proxy]]\nlisten = \"127.0.0.1:0\"\nusers_file = \"users\"\n"), 1)
	const (
		right = "ann:correct horse"
		wrong = "ann:battery staple"

		httpStatus = 22 // with --fail
		socksFails = 97
	)
	connect := []string{"--write-out", "%{http_connect}", "--proxytunnel", "--proxy"}
	for _, tt := range []struct {
		flags []string
		user  string
		code  int
		says  string
	}{
		{[]string{"--socks5-hostname"}, right, 0, ""},
		{[]string{"--proxy"}, right, 0, ""},
		{[]string{"--proxytunnel", "--proxy"}, right, 0, ""},
		{[]string{"--socks5-hostname"}, wrong, socksFails, "User was rejected by the SOCKS5 server"},
		{[]string{"--proxy"}, wrong, httpStatus, "407"},
		{connect, wrong, httpStatus, "407"},
		{[]string{"--socks5-hostname"}, "", socksFails, "No authentication method was acceptable"},
		{[]string{"--proxy"}, "", httpStatus, "407"},
		{connect, "", httpStatus, "407"},
	} {
		args := append(tt.flags[:len(tt.flags):len(tt.flags)], up.proxy)
		if tt.user != "" {
			args = append(args, "--proxy-user", tt.user)
		}
		out, err := c.command(t.Context(), append(args, "http://"+siteName+"/")...).CombinedOutput()
		var exit *exec.ExitError
		code := 0
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if code != tt.code || tt.code == 0 && string(out) != pageText || !strings.Contains(string(out), tt.says) {
			t.Errorf("curl %v: exit code %d and %q, want %d and %q", args, code, out, tt.code, tt.says)
		}
		if seen := s.requests(); (len(seen) == 1) != (tt.code == 0) {
			t.Errorf("curl %v: the server saw %q", args, seen)
		}
	}
	up.terminate(t)
}
