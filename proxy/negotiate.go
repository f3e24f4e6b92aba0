package proxy

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/things-go/go-socks5"
)

// newNegotiator returns go-socks5 as a parser: its ServeConn negotiates the method, lets auth do its part, reads the
// request and answers what is malformed (no acceptable method, replies 07 and 08). Every well-formed request ends in the
// same handler, which only notes it down: the library never dials, resolves, listens or relays.
func newNegotiator(auth socks5.Authenticator) *socks5.Server {
	return socks5.NewServer(
		socks5.WithAuthMethods([]socks5.Authenticator{auth}),
		socks5.WithResolver(keepName{}),
		socks5.WithRule(socks5.NewPermitAll()), // what is allowed is for Dial to say
		socks5.WithConnectHandle(noteRequest),
		socks5.WithBindHandle(noteRequest),
		socks5.WithAssociateHandle(noteRequest),
		socks5.WithDial(refuseDial),
	)
}

// negotiate returns the request of c, or nil if the handshake came to none: the client went away or took too long, or the
// library has refused it.
func (s *Server) negotiate(c *client) *socks5.Request {
	h := &handshake{client: c}
	err := s.socks.ServeConn(h)
	if h.request != nil {
		return h.request
	}
	switch {
	case errors.Is(err, errLogin):
		s.stats.badLogins.Add(1)
	case errors.Is(err, errTooMany):
		s.stats.throttled.Add(1)
	default:
		s.stats.unfinished.Add(1)
	}
	s.cfg.Logger.Debug("proxy: no request", "client", c.RemoteAddr(), "error", err)
	if h.readErr == nil {
		c.linger()
	}
	return nil
}

// handshake is a client as go-socks5 sees it.
type handshake struct {
	*client
	request *socks5.Request // nil until a well-formed request was read
	readErr error           // the first one
}

// Read returns one byte at most. The library reads through a buffer of its own, which goes when ServeConn returns: so
// nothing that follows the request is ever in it.
func (h *handshake) Read(b []byte) (int, error) {
	n, err := h.reader.Read(b[:min(len(b), 1)])
	if h.readErr == nil {
		h.readErr = err
	}
	return n, err
}

// Close does nothing: when the library is done with the connection, we begin.
func (h *handshake) Close() error { return nil }

// noteRequest is the handler of all commands. The library passes on the connection that ServeConn was given as w.
func noteRequest(_ context.Context, w io.Writer, r *socks5.Request) error {
	w.(*handshake).request = r
	return nil
}

// keepName is a resolver that does not resolve: without an address the name stays in the request.
type keepName struct{}

func (keepName) Resolve(ctx context.Context, _ string) (context.Context, net.IP, error) {
	return ctx, nil, nil
}

// refuseDial takes the place of the library's default, which dials by the host. Nothing is left that would call it.
func refuseDial(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("proxy: a default handler of go-socks5 was reached")
}
