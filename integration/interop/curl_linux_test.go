package interop

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net/http"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
)

// TestCurl fetches pages with curl through `wimble up`, which has no
// capability, from a web server behind wireguard-go.
func TestCurl(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		skip(t, "this test needs curl: install the package curl")
	}
	ours, theirs := configure(t, true)
	peer := openForeign(t, theirs)
	serveWeb(t, peer)
	ours.Peers[0].Endpoint = netip.AddrPortFrom(loopback4, peer.port(t)).String()

	dir := sharedDir(t)
	up := startUp(t, buildWimble(t, dir), writeWireGuard(t, dir, ours))
	noCapabilities(t, up.cmd.Process.Pid)
	_, want, err := digest(speech(seedTo, amount))
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"--socks5", "--socks5-hostname"} {
		for _, inside := range theirsInside {
			url := "http://" + at(inside, 80)
			fetch := func(page string) []byte {
				return run(t, exec.CommandContext(t.Context(), curl, "-q", "-sS", "--fail", "--noproxy", "", flag, up.proxy, url+page))
			}
			if page := string(fetch("/")); page != pageText {
				t.Errorf("curl %s: the page at %s is %q, want %q", flag, url, page, pageText)
			}
			if body := fetch("/body"); sha256.Sum256(body) != want {
				t.Errorf("curl %s: %s/body are %d bytes with SHA-256 %x, want %d with %x",
					flag, url, len(body), sha256.Sum256(body), amount, want)
			}
		}
	}
	up.terminate(t)
	if strings.Contains(up.said.String(), ours.PrivateKey.Base64()) {
		t.Error("the program printed its private key")
	}
}

const pageText = "reached through the tunnel\n"

// serveWeb serves a page and a large body on port 80 of every address inside.
func serveWeb(t *testing.T, peer *foreign) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, pageText) // curl notices
	})
	mux.HandleFunc("GET /body", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, speech(seedTo, amount)) // curl notices
	})
	server := &http.Server{Handler: mux}
	t.Cleanup(func() { server.Close() })
	for _, inside := range theirsInside {
		ln, err := peer.Listen(t.Context(), "tcp", at(inside, 80))
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = server.Serve(ln) }() // http.ErrServerClosed
	}
}

// run runs a command and returns what it printed.
func run(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, &stderr)
	}
	return out
}
