package main

import (
	"net"
	"os"
	"sync"

	"github.com/wimble-proxy/wimble/forward"
)

// ownUserOnly lets in what connects as the user that we run as, on a listener on loopback.
func (a *app) ownUserOnly(ln net.Listener) net.Listener {
	return &guardedListener{Listener: ln, console: a.console}
}

// guardedListener is a listener that resets connections of other users.
type guardedListener struct {
	net.Listener
	console *console
	warn    sync.Once
}

// Accept waits for a connection of our own user.
func (g *guardedListener) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := clientUID(c)
		if err == nil && uid == os.Geteuid() {
			return c, nil
		}
		g.console.log.Debug("a connection of another user was refused", "uid", uid, "error", err)
		g.warn.Do(func() {
			g.console.warn("another user of this host tried to use the tunnel, and was refused")
		})
		forward.ResetOnClose(c)
		c.Close()
	}
}
