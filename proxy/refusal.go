package proxy

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// refusal is a response of ours to a request that we don't serve, or can't. It says nothing of where the request would
// have gone.
type refusal struct {
	status int
	cause  string // an error type of RFC 9209, section 2.3; none if ""
	text   string // for a person
	fields fields // more of them
}

func newRefusal(status int, cause, text string) *refusal {
	return &refusal{status: status, cause: cause, text: text}
}

func (r *refusal) Error() string { return r.text }

// header is the header section, but for what depends on the body.
func (r *refusal) header() fields {
	h := fields{
		{"Content-Type", "text/plain; charset=utf-8"},
		{"X-Content-Type-Options", "nosniff"},
		{"Cache-Control", "no-store"},
	}
	if r.cause != "" {
		h = append(h, field{"Proxy-Status", "wimble; error=" + r.cause})
	}
	return append(h, r.fields...)
}

// dialRefusal is the refusal for an error of Dial, as Dial's comment lists them.
func dialRefusal(err error) *refusal {
	var dns *net.DNSError
	switch {
	case errors.Is(err, errLoop):
		return newRefusal(http.StatusLoopDetected, "proxy_loop_detected", "the target is this proxy")
	case errors.As(err, &dns) && dns.IsTimeout: // first: it may wrap the time-out of a query
		return newRefusal(http.StatusGatewayTimeout, "dns_timeout", "the target's name was not resolved in time")
	case dns != nil:
		return newRefusal(http.StatusBadGateway, "dns_error", "the target's name can't be resolved")
	case isAny(err, fs.ErrPermission):
		return newRefusal(http.StatusForbidden, "http_request_denied", "a rule forbids this target")
	case isAny(err, syscall.ENETUNREACH):
		return newRefusal(http.StatusBadGateway, "destination_ip_unroutable", "no route goes to the target")
	case isAny(err, syscall.ENETDOWN, syscall.EHOSTUNREACH, syscall.EHOSTDOWN):
		return newRefusal(http.StatusServiceUnavailable, "destination_unavailable", "the target can't be reached at the moment")
	case isAny(err, syscall.ECONNREFUSED):
		return newRefusal(http.StatusBadGateway, "connection_refused", "the target refused the connection")
	case isAny(err, syscall.ECONNRESET):
		return newRefusal(http.StatusBadGateway, "connection_terminated", "the target broke off the connection")
	case isAny(err, syscall.ETIMEDOUT, context.DeadlineExceeded, os.ErrDeadlineExceeded):
		return newRefusal(http.StatusGatewayTimeout, "connection_timeout", "the target did not answer in time")
	case isAny(err, syscall.EADDRNOTAVAIL, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS):
		return tooManyConns()
	}
	return newRefusal(http.StatusInternalServerError, "proxy_internal_error", "the connection could not be made")
}

func tooManyConns() *refusal {
	return newRefusal(http.StatusServiceUnavailable, "connection_limit_reached", "there are too many connections at the moment")
}

// originRefusal is the refusal for an error of the exchange with an origin.
func originRefusal(err error) *refusal {
	var r *refusal
	var m malformed
	switch {
	case errors.As(err, &r):
		return r
	case err == errTooLong:
		return newRefusal(http.StatusBadGateway, "http_response_header_section_size", "the head of the origin's response is too long")
	case errors.As(err, &m):
		return newRefusal(http.StatusBadGateway, "http_protocol_error", "the origin's response is malformed")
	case isTimeout(err):
		return newRefusal(http.StatusGatewayTimeout, "http_response_timeout", "the origin did not respond in time")
	case isAny(err, io.ErrUnexpectedEOF):
		return newRefusal(http.StatusBadGateway, "http_response_incomplete", "the origin ended the connection without a response")
	}
	return newRefusal(http.StatusBadGateway, "connection_terminated", "the origin broke off the connection")
}

// bodyRefusal is the refusal for an error of reading a request's body; errLeft if the client is gone.
func bodyRefusal(err error) error {
	var m malformed
	switch {
	case errors.As(err, &m):
		return newRefusal(http.StatusBadRequest, "http_request_error", "the request's body is malformed: "+m.Error())
	case isTimeout(err):
		return newRefusal(http.StatusRequestTimeout, "http_request_error", "the request's body did not come in time")
	case isAny(err, io.ErrUnexpectedEOF):
		return newRefusal(http.StatusBadRequest, "http_request_error", "the request's body ended too early")
	}
	return errLeft
}

// refuseHTTP answers a request with a refusal, and reports whether the client may ask again. The request is nil if it could
// not be read.
func (s *Server) refuseHTTP(c *client, r *request, why *refusal) (again bool) {
	s.cfg.Logger.Debug("proxy: refused", "client", c.RemoteAddr(), "target", c.target, "status", why.status, "reason", why.text)
	return s.answer(c, r, why.status, why.header(), "wimble: "+why.text+"\n")
}

// answer sends a response of ours, and reports whether the client may ask again. The body of a request is never read
// for that: then the connection ends.
func (s *Server) answer(c *client, r *request, status int, header fields, text string) (again bool) {
	again = r != nil && r.persists() && !r.hasBody() && c.serving.Err() == nil
	// A client that did not wait for the answer to its CONNECT has sent what is no request.
	if again && r.method == http.MethodConnect {
		again = status == http.StatusProxyAuthRequired && c.reader.Buffered() == 0
	}
	s.stats.statuses[status].Add(1)
	b := header.appendTo(appendStatusLine(nil, status, http.StatusText(status)))
	b = framing{byLength, int64(len(text))}.appendTo(b)
	if !again {
		b = append(b, "Connection: close\r\n"...)
	}
	b = append(b, "\r\n"...)
	if r == nil || r.method != http.MethodHead {
		b = append(b, text...)
	}
	_ = c.SetWriteDeadline(time.Now().Add(s.cfg.IdleTimeout))
	if _, err := c.Write(b); err != nil {
		return false
	}
	if !again {
		c.linger()
	}
	return again
}
