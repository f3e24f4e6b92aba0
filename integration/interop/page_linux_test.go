package interop

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// pageBody is the size in bytes of what a page loads, and of what it has the
// browser save.
const pageBody = 8 << 20

// page is a page of testdata/page, for one visit.
type page struct {
	// saved is the file that the browser is to save.
	saved string
	once  sync.Once
	done  chan struct{} // closed when the script has said so
}

// servePage serves a page under a path.
func servePage(t *testing.T, s *site, path, saved string) *page {
	t.Helper()
	p := &page{saved: saved, done: make(chan struct{})}
	s.mux.Handle("GET "+path, http.StripPrefix(path, http.FileServer(http.Dir("testdata/page"))))
	s.mux.HandleFunc("GET "+path+"picture.png", func(w http.ResponseWriter, _ *http.Request) { writePicture(w, 120, 80) })
	s.mux.HandleFunc("GET "+path+"held.png", p.serveHeld)
	s.mux.HandleFunc("GET "+path+"body", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, speech(seedTo, pageBody)) // the script notices
	})
	s.mux.HandleFunc("GET "+path+"attachment", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", `attachment; filename="attachment.bin"`)
		_, _ = io.Copy(w, speech(seedFrom, pageBody)) // the test notices
	})
	s.mux.HandleFunc("POST "+path+"upload", func(w http.ResponseWriter, r *http.Request) {
		_, sum, _ := digest(r.Body) // the script notices
		fmt.Fprintf(w, "%x", sum)
	})
	s.mux.HandleFunc("POST "+path+"done", func(http.ResponseWriter, *http.Request) { p.once.Do(func() { close(p.done) }) })
	s.mux.Handle("GET "+path+"echo", websocket.Server{Handler: echoMessages}) // from any origin
	return p
}

// serveHeld answers when the script is done and the file is saved: only then is
// the page loaded. The browser gives the file its name when it is whole.
func (p *page) serveHeld(w http.ResponseWriter, r *http.Request) {
	select {
	case <-p.done:
	case <-r.Context().Done():
		return
	}
	for r.Context().Err() == nil {
		if _, err := os.Stat(p.saved); err == nil {
			writePicture(w, 1, 1)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// pictureColor is all that is on the pictures.
var pictureColor = color.RGBA{R: 240, G: 160, B: 20, A: 255}

func writePicture(w http.ResponseWriter, width, height int) {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	for i := range m.Pix {
		m.Pix[i] = [4]byte{pictureColor.R, pictureColor.G, pictureColor.B, pictureColor.A}[i%4]
	}
	w.Header().Set("Content-Type", "image/png")
	_ = png.Encode(w, m) // the script notices
}

// echoMessages sends each message back, until the client ends it, which gets an
// answer, too.
func echoMessages(c *websocket.Conn) {
	defer c.Close()
	for {
		var message []byte
		if websocket.Message.Receive(c, &message) != nil || websocket.Message.Send(c, message) != nil {
			return
		}
	}
}
