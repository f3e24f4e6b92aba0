package proxy

import (
	"container/list"
	"sync"
)

// gate bounds how many clients there are in each of two stages: in their handshake, and served after it.
//
// They are apart so that clients who do not finish a handshake, by slowness or malice, never take the place of those
// who do. An HTTP client that was served and may ask again is in its handshake again.
type gate struct {
	maxHandshakes, maxConns int

	mu         sync.Mutex // guards what follows, and the place and the admitted field of every client
	handshakes list.List  // of *client, the oldest in front
	conns      int
}

// enter gives c a place among the handshakes. It returns the client that loses its own for that, if any; the caller
// closes it.
func (g *gate) enter(c *client) (oldest *client) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.queue(c)
}

// admit moves c from the handshakes to those served. It reports false, and changes nothing, if there are too many.
func (g *gate) admit(c *client) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conns >= g.maxConns {
		return false
	}
	g.remove(c)
	g.conns++
	c.admitted = true
	return true
}

// retire moves c from those served to the handshakes, as their newest. What it returns is as for enter. A client that
// was not admitted stays where it is.
func (g *gate) retire(c *client) (oldest *client) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !c.admitted {
		return nil
	}
	c.admitted = false
	g.conns--
	return g.queue(c)
}

// leave frees the place of c, whichever it has.
func (g *gate) leave(c *client) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.remove(c)
	if c.admitted {
		c.admitted = false
		g.conns--
	}
}

// queue puts c at the end of the handshakes and takes the oldest away if there are too many. The caller holds mu.
func (g *gate) queue(c *client) (oldest *client) {
	if g.handshakes.Len() >= g.maxHandshakes {
		oldest = g.handshakes.Front().Value.(*client)
		g.remove(oldest)
	}
	c.place = g.handshakes.PushBack(c)
	return oldest
}

// remove takes c from the handshakes, if it is there. The caller holds mu.
func (g *gate) remove(c *client) {
	if c.place != nil {
		g.handshakes.Remove(c.place)
		c.place = nil
	}
}

// counts returns how many clients are in their handshake and how many are served.
func (g *gate) counts() (handshakes, conns int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.handshakes.Len(), g.conns
}
