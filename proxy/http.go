package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// openHTTP serves requests until one makes the connection a tunnel, of which it returns the target, or until there are no
// more; then it returns nil.
func (s *Server) openHTTP(ctx context.Context, c *client) net.Conn {
	for {
		target, again := s.serveRequest(ctx, c)
		if !again {
			return target
		}
		if !s.await(c) {
			return nil
		}
	}
}

// await waits for the next request to begin, and reports whether it did.
func (s *Server) await(c *client) bool {
	if oldest := s.gate.retire(c); oldest != nil {
		s.evict(oldest)
	}
	_ = c.SetReadDeadline(time.Now().Add(s.cfg.IdleTimeout))
	stop := context.AfterFunc(c.serving, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	_, err := c.reader.Peek(1)
	if !stop() || err != nil {
		return false
	}
	_ = c.SetReadDeadline(time.Now().Add(s.cfg.HandshakeTimeout))
	return true
}

// serveRequest reads a request and answers it, or returns the target of the tunnel that it makes of the connection. It
// reports whether the client may ask again.
func (s *Server) serveRequest(ctx context.Context, c *client) (tunnel net.Conn, again bool) {
	c.target, c.asked = "", false
	r, err := readRequest(c.reader)
	if err != nil {
		s.unfinished(c, err)
		return nil, false
	}
	if r.target.form == originForm {
		return nil, s.answerOrigin(c, r)
	}
	if why := s.checkLogin(c, r); why != nil {
		return nil, s.refuseHTTP(c, r, why)
	}
	if further := r.hop(); !further || r.target.form == asteriskForm {
		return nil, s.answerLast(c, r)
	}

	c.target = r.target.address
	if !s.gate.admit(c) {
		return nil, s.refuseHTTP(c, r, tooManyConns())
	}
	// With CONNECT the client has hardly begun to speak.
	c.asked = r.method != http.MethodConnect && !r.hasBody()
	target, err := s.dial(ctx, c)
	switch {
	case err == errLeft:
		s.abandoned(c)
		return nil, false
	case err != nil:
		return nil, s.refuseHTTP(c, r, dialRefusal(err))
	case r.method == http.MethodConnect:
		return s.answerConnect(c, target), false
	}
	return s.exchange(ctx, c, r, target)
}

// unfinished ends a handshake without a request, with a refusal if err is one.
func (s *Server) unfinished(c *client, err error) {
	s.stats.unfinished.Add(1)
	var why *refusal
	switch {
	case errors.As(err, &why):
		s.refuseHTTP(c, nil, why)
	case isTimeout(err):
		s.refuseHTTP(c, nil, newRefusal(http.StatusRequestTimeout, "http_request_error", "the request did not come in time"))
	default:
		s.cfg.Logger.Debug("proxy: no request", "client", c.RemoteAddr(), "error", err)
	}
}

// answerConnect tells the client that its tunnel is there (RFC 9110, section 9.3.6), and returns the target unless the
// client is gone.
func (s *Server) answerConnect(c *client, target net.Conn) net.Conn {
	s.stats.statuses[http.StatusOK].Add(1)
	_ = c.SetWriteDeadline(time.Now().Add(s.cfg.HandshakeTimeout))
	if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		s.cfg.Logger.Debug("proxy: no reply", "client", c.RemoteAddr(), "target", c.target, "error", err)
		_ = target.Close()
		return nil
	}
	return target
}

// answerLast answers a request that goes no further than to us: OPTIONS, or TRACE of which we are the last (RFC 9110,
// sections 9.3.7 and 9.3.8).
func (s *Server) answerLast(c *client, r *request) (again bool) {
	if r.method == http.MethodTrace {
		return s.answer(c, r, http.StatusOK, fields{{"Content-Type", "message/http"}}, r.trace())
	}
	return s.answer(c, r, http.StatusOK, nil, "")
}
