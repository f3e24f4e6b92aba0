package proxy

import (
	"bytes"
	"errors"
	"io"

	"github.com/things-go/go-socks5/statute"
)

// errMethod is for a client that does not offer the method that we want.
var errMethod = errors.New("no acceptable method")

// negotiate returns the request of c, or nil if the handshake came to none: the client went away or took too long, or it
// was refused. What follows the request is still to be read.
func (s *Server) negotiate(c *client) *statute.Request {
	r := &tracked{reader: c.reader}
	request, err := s.readSOCKS(c, r)
	switch {
	case err == nil:
		return &request
	case errors.Is(err, errLogin):
		s.stats.badLogins.Add(1)
	case errors.Is(err, errTooMany):
		s.stats.throttled.Add(1)
	default:
		s.stats.unfinished.Add(1)
	}
	s.cfg.Logger.Debug("proxy: no request", "client", c.RemoteAddr(), "error", err)
	if r.err == nil {
		c.linger()
	}
	return nil
}

// readSOCKS is the dialogue up to the request (RFC 1928, sections 3 and 4). Of go-socks5 it uses the parsers, which are
// right; they can't dial, resolve, listen or relay, as its server would.
func (s *Server) readSOCKS(c *client, r io.Reader) (statute.Request, error) {
	offer, err := statute.ParseMethodRequest(r)
	if err != nil {
		return statute.Request{}, err
	}
	method := statute.MethodNoAuth
	if s.logins != nil {
		method = statute.MethodUserPassAuth
	}
	if bytes.IndexByte(offer.Methods, method) < 0 {
		_, err := c.Write([]byte{statute.VersionSocks5, statute.MethodNoAcceptable})
		return statute.Request{}, errors.Join(errMethod, err)
	}
	if _, err := c.Write([]byte{statute.VersionSocks5, method}); err != nil {
		return statute.Request{}, err
	}
	if s.logins != nil {
		if err := s.logins.overSOCKS(c, r); err != nil {
			return statute.Request{}, err
		}
	}
	request, err := statute.ParseRequest(r)
	if errors.Is(err, statute.ErrUnrecognizedAddrType) {
		_, failed := c.Write(encodeReply(statute.RepAddrTypeNotSupported, nil))
		err = errors.Join(err, failed)
	}
	return request, err
}

// tracked keeps the error that ended reading, of which go-socks5 keeps no more than the text.
type tracked struct {
	reader io.Reader
	err    error
}

func (t *tracked) Read(b []byte) (int, error) {
	n, err := t.reader.Read(b)
	if t.err == nil {
		t.err = err
	}
	return n, err
}
