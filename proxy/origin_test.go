package proxy

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// step is what an origin hears, byte for byte, and what it says then.
type step struct{ hears, says string }

// origins is a Dial to scripted origins, one for each connection, in their order. When an origin's steps are over it ends
// its stream, and must hear nothing more.
type origins struct {
	t       *testing.T
	scripts [][]step

	mu     sync.Mutex // guards what follows
	dialed []string
	done   sync.WaitGroup
}

func (o *origins) dial(_ context.Context, _, address string) (net.Conn, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dialed = append(o.dialed, address)
	if len(o.dialed) > len(o.scripts) {
		o.t.Errorf("dial %d, to %s: there should be only %d", len(o.dialed), address, len(o.scripts))
		return nil, net.ErrClosed
	}
	near, far := newMemPair()
	steps := o.scripts[len(o.dialed)-1]
	o.done.Go(func() { o.play(far, steps) })
	return near, nil
}

func (o *origins) play(c *memConn, steps []step) {
	defer c.Close()
	for i, s := range steps {
		heard := make([]byte, len(s.hears))
		if n, err := io.ReadFull(c, heard); err != nil || string(heard) != s.hears {
			o.t.Errorf("step %d: the origin heard\n%q, error %v; want\n%q", i, heard[:n], err, s.hears)
			return
		}
		if _, err := io.WriteString(c, s.says); err != nil {
			return // the proxy has seen enough
		}
	}
	_ = c.CloseWrite()
	if more, _ := io.ReadAll(c); len(more) > 0 {
		o.t.Errorf("the origin also heard\n%q", more)
	}
}

// check waits for the origins to be left, and compares what was dialed.
func (o *origins) check(want []string) {
	o.t.Helper()
	o.done.Wait()
	if got := strings.Join(o.dialed, " "); got != strings.Join(want, " ") {
		o.t.Errorf("dialed %q, want %q", o.dialed, want)
	}
}

// oracle is a Dial to origins that answer whatever comes, and count the requests in it as the most lenient of origins
// would: by the lines that look like the beginning of one.
type oracle struct {
	mu    sync.Mutex // guards what follows
	heard strings.Builder
	done  sync.WaitGroup
}

func (o *oracle) dial(context.Context, string, string) (net.Conn, error) {
	near, far := newMemPair()
	o.done.Go(func() {
		defer far.Close()
		buf := make([]byte, 4096)
		for {
			n, err := far.Read(buf)
			o.mu.Lock()
			_, _ = o.heard.Write(buf[:n])
			o.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	return near, nil
}

// requests returns how many requests there were, when the connections have ended.
func (o *oracle) requests() (count int, heard string) {
	o.done.Wait()
	heard = o.heard.String()
	for line := range strings.FieldsFuncSeq(heard, func(r rune) bool { return r == '\r' || r == '\n' }) {
		if strings.Contains(line, " HTTP/1.") {
			count++
		}
	}
	return count, heard
}
