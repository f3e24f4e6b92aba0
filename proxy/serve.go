package proxy

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/things-go/go-socks5/statute"

	"github.com/wimble-proxy/wimble/forward"
)

// Serve accepts connections from ln and serves each in a goroutine of its own, until ctx ends; then it closes ln, gives
// its connections the grace time, closes what is left, and returns nil when all its goroutines have ended. It returns an
// error only if ln was closed by someone else. Any other error of Accept, such as too many open files, is waited out.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	return s.acceptor.Serve(ctx, ln, func(life context.Context, c net.Conn) { s.serve(life, ctx, c) })
}

// serve takes one connection from its first byte to its end. When ctx ends, it ends too; when serving ends, it takes no
// further request.
//
// What an idle connection has of the stack is this, relay and what that calls: with more than 1 KiB of frames the runtime
// leaves it 8 KiB of stack and not 4. So all else is done in functions that return before.
func (s *Server) serve(ctx, serving context.Context, conn net.Conn) {
	c := s.newClient(serving, conn)
	defer s.gate.leave(c)
	if target := s.welcome(ctx, c); target != nil {
		s.relay(ctx, c, target)
	} else {
		s.release(c)
	}
}

// welcome returns the target of a client, or nil if it gets none.
func (s *Server) welcome(ctx context.Context, c *client) net.Conn {
	closeOnEnd := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer closeOnEnd() // from here on the relay does it, with a reset

	if !s.cfg.AllowClients.Allow(forward.Source(c)) {
		s.stats.denied.Add(1)
		s.cfg.Logger.Debug("proxy: not an allowed client", "client", c.RemoteAddr())
		return nil
	}
	if oldest := s.gate.enter(c); oldest != nil {
		s.evict(oldest)
	}
	_ = c.SetDeadline(time.Now().Add(s.cfg.HandshakeTimeout))
	return s.open(ctx, c)
}

// evict closes the connection of a client that lost its place among the handshakes.
func (s *Server) evict(c *client) {
	s.stats.evicted.Add(1)
	_ = c.Close()
}

// open does all that comes before the relay, in the protocol that the client's first byte tells. It returns nil if the
// client gets no target.
func (s *Server) open(ctx context.Context, c *client) net.Conn {
	first, err := c.reader.Peek(1)
	switch {
	case err != nil:
		s.stats.unfinished.Add(1)
		s.cfg.Logger.Debug("proxy: no request", "client", c.RemoteAddr(), "error", err)
	case first[0] == statute.VersionSocks5 && s.speaks(SOCKS5):
		return s.openSOCKS(ctx, c)
	case beginsHTTP(first[0]) && s.speaks(HTTP):
		return s.openHTTP(ctx, c)
	default:
		s.stats.unknown.Add(1)
		s.cfg.Logger.Debug("proxy: not a protocol that is served here", "client", c.RemoteAddr(), "first", first[0])
	}
	return nil
}

func (s *Server) speaks(p Protocol) bool { return slices.Contains(s.cfg.Protocols, p) }

// beginsHTTP reports whether a client's first byte is from a request, or from a line that a person may have typed: what is
// wrong with that is answered in text. TLS and SOCKS4 begin with a control character.
func beginsHTTP(first byte) bool { return first >= ' ' && first < 0x7f || first == '\r' }

// relay carries data between the client and its target, and closes both.
func (s *Server) relay(ctx context.Context, c *client, target net.Conn) {
	c.begun = time.Now()
	_ = c.SetDeadline(time.Time{})
	traffic, err := s.cfg.Relay.Run(ctx, forward.Early(c.Conn, s.takeEarly(c)), target)
	s.done(c, traffic, err)
}

// done notes what a relay was.
func (s *Server) done(c *client, traffic forward.Traffic, err error) {
	s.stats.up.Add(traffic.Up)
	s.stats.down.Add(traffic.Down)
	if !s.cfg.Logger.Enabled(context.Background(), slog.LevelDebug) { // the attributes would be made for nothing
		return
	}
	s.cfg.Logger.Debug("proxy: done", "client", c.RemoteAddr(), "target", c.target,
		"up", traffic.Up, "down", traffic.Down, "took", time.Since(c.begun), "error", err)
}
