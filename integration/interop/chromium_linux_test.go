package interop

import (
	"bytes"
	"context"
	"fmt"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"testing"
	"time"
)

// visitTime is what one visit may take.
const visitTime = time.Minute

// TestChromium visits a page behind the tunnel, with a style sheet, a script, a
// picture, a large download, an upload, a WebSocket and a file to save, over
// SOCKS5, HTTP and the PAC file, with TLS and without. With -artifacts it keeps
// the screenshots.
func TestChromium(t *testing.T) {
	t.Parallel()
	path := lookPath(t, "chromium", "chromium")
	s := openSite(t)
	up := startUp(t, s.program, s.conf)
	for _, route := range []struct{ name, flag string }{
		{"socks5", "--proxy-server=socks5://" + up.proxy},
		{"http", "--proxy-server=http://" + up.proxy},
		{"pac", "--proxy-pac-url=http://" + up.proxy + "/proxy.pac"},
	} {
		for _, scheme := range []string{"http", "https"} {
			t.Run(route.name+" "+scheme, func(t *testing.T) {
				visit(t, s, path, route.flag, scheme)
			})
		}
	}
	up.terminate(t)
}

// visit visits a page of its own with a browser that has never been used.
func visit(t *testing.T, s *site, chromium, proxy, scheme string) {
	b := newBrowser(t, chromium, proxy, "--ignore-certificate-errors-spki-list="+s.pin,
		// For the script's SHA-256, which pages without TLS don't have.
		"--unsafely-treat-insecure-origin-as-secure=http://"+siteName)
	path := "/" + t.Name() + "/"
	saved := filepath.Join(b.dir, "Downloads", "attachment.bin")
	servePage(t, s, path, saved)
	url := scheme + "://" + siteName + path
	s.requests()
	document, screenshot := b.visit(t, url)

	_, body, err := digest(speech(seedTo, pageBody))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"style": "rgb(20, 60, 100)", "picture": "120 x 80", "download": fmt.Sprintf("200 %d %x", pageBody, body),
		"upload": "equal", "websocket": "5 equal, closed with 1000", "attachment": "asked for",
	} {
		cell := regexp.MustCompile(`<td id="` + name + `">([^<]*)</td>`).FindStringSubmatch(document)
		if cell == nil || cell[1] != want {
			t.Errorf("%s: the page has %q, want %q", name, cell, want)
		}
	}
	seen := s.requests()
	for _, file := range []string{"", "style.css", "script.js", "picture.png", "body", "echo", "attachment"} {
		if want := "GET HTTP/1.1 " + url + file; !slices.Contains(seen, want) {
			t.Errorf("the server saw %q, want %q among them", seen, want)
		}
	}
	checkSaved(t, saved)
	checkScreenshot(t, screenshot)
	if t.Failed() {
		t.Logf("the page:\n%s", document)
	}
}

// checkSaved compares the file that was saved.
func checkSaved(t *testing.T, name string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	n, got, err := digest(f)
	if err != nil {
		t.Fatal(err)
	}
	if _, want, _ := digest(speech(seedFrom, pageBody)); got != want {
		t.Errorf("%d bytes are saved, with SHA-256 %x, want %d with %x", n, got, pageBody, want)
	}
}

// checkScreenshot looks for the page's background and for its picture.
func checkScreenshot(t *testing.T, screenshot []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), "page.png"), screenshot, 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := png.Decode(bytes.NewReader(screenshot))
	if err != nil {
		t.Fatal(err)
	}
	count := map[color.Color]int{}
	for y := range m.Bounds().Dy() {
		for x := range m.Bounds().Dx() {
			count[color.RGBAModel.Convert(m.At(x, y))]++
		}
	}
	background := color.RGBA{R: 20, G: 60, B: 100, A: 255}
	if count[background] < 100_000 || count[pictureColor] < 120*80 {
		t.Errorf("the screenshot of %v has %d pixels of the background and %d of the picture, want 100,000 and %d at least",
			m.Bounds().Size(), count[background], count[pictureColor], 120*80)
	}
}

// browser is a Chromium in a home of its own. It runs with its sandbox, which
// it does not do as root.
type browser struct {
	path, dir string
	flags     []string
}

func newBrowser(t *testing.T, path string, flags ...string) *browser {
	t.Helper()
	b := &browser{path: path, dir: t.TempDir(), flags: append([]string{
		"--headless", "--no-first-run", "--disable-gpu", "--window-size=900,600",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--proxy-bypass-list=<-loopback>", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
	}, flags...)}
	return b
}

// visit loads a page and returns what has become of it.
func (b *browser) visit(t *testing.T, url string) (document string, screenshot []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), visitTime)
	defer cancel()
	picture := filepath.Join(b.dir, "page.png")
	cmd := exec.CommandContext(ctx, b.path, append(b.flags,
		"--user-data-dir="+filepath.Join(b.dir, "profile"), "--dump-dom", "--screenshot="+picture, url)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir, "LC_ALL=C.UTF-8"}
	asNobody(t, cmd, b.dir)
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	// It is several processes.
	cmd.SysProcAttr.Setpgid = true
	end := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = end
	document = string(run(t, cmd))
	_ = end() // none should be left
	screenshot, err := os.ReadFile(picture)
	if err != nil {
		t.Fatal(err)
	}
	return document, screenshot
}
