package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/wimble-proxy/wimble/forward"
)

// maxInterim is how many interim responses an origin may send for one request.
const maxInterim = 64

// exchange is one request to an origin and the response to it, over a connection that is made for it and closed after it.
// So nothing that an origin sends can be taken for the response to another request, and a connection that breaks never
// leaves the question whether the request is safe to repeat: none is repeated.
//
// Two goroutines work on it: download has the origin's reader and writes to the client, upload the other way round.
type exchange struct {
	server  *Server
	client  *client
	request *request
	origin  *origin
	body    *body // of the request

	up     int64 // bytes of the request's body; upload's
	status int   // of the response, once it has begun
	down   int64 // bytes of its body
	again  bool  // the client was told that it may ask again
}

// exchange sends a request to its origin and the response back. It returns the origin if the two have agreed on another
// protocol, and reports whether the client may ask again.
func (s *Server) exchange(ctx context.Context, c *client, r *request, target net.Conn) (tunnel net.Conn, again bool) {
	begin := time.Now()
	x := &exchange{server: s, client: c, request: r, body: newBody(c.reader, r.framing)}
	x.origin = newOrigin(target, s.cfg.ResponseTimeout)
	switched, err := x.run(ctx)

	s.stats.up.Add(x.up)
	s.stats.down.Add(x.down)
	if x.status == 0 && err != nil && err != errLeft {
		return nil, s.refuseHTTP(c, r, originRefusal(err))
	}
	if x.status != 0 {
		s.stats.statuses[x.status].Add(1)
	}
	s.cfg.Logger.Debug("proxy: responded", "client", c.RemoteAddr(), "target", c.target, "status", x.status,
		"up", x.up, "down", x.down, "took", time.Since(begin), "error", err)
	switch {
	case err != nil:
		forward.ResetOnClose(c.Conn) // a part must not look like the whole
		return nil, false
	case switched:
		return x.origin.release(), false
	case !x.again:
		c.linger()
	}
	return nil, x.again
}

// run is the exchange itself. It reports whether the protocol was switched; else the origin is closed.
func (x *exchange) run(ctx context.Context) (switched bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, x.origin.leash.stop)
	defer stop()

	join := x.client.aside(0, func() { cancel(errLeft) }, func() { x.upload(cancel) })
	defer join()
	defer func() {
		if !switched {
			_ = x.origin.Close() // this also ends an upload that waits for the origin
		}
	}()
	switched, err = x.download()
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause // of the origin's being stopped
	}
	return switched, err
}

// upload sends the request, then waits for the client to leave. It calls cancel if there will be no whole request, or
// nobody to read the response.
func (x *exchange) upload(cancel context.CancelCauseFunc) {
	if _, err := x.origin.Write(x.request.head()); err != nil {
		return // what the origin has sent, if anything, says more
	}
	x.client.leash.limit(x.server.cfg.IdleTimeout)
	var readErr, writeErr error
	x.up, readErr, writeErr = carry(x.origin, x.body, x.body.framing.delimiter == byChunks)
	switch {
	case readErr != nil:
		cancel(bodyRefusal(readErr))
		return
	case writeErr != nil:
		return // as above: an origin need not read all of a request to answer it
	}
	x.client.leash.limit(0)
	switch err := x.client.ended(); {
	case err == io.EOF: // it may be gone for good, or just have no more to ask
		x.origin.leash.limit(x.server.cfg.IdleTimeout)
	case err != nil:
		cancel(errLeft)
	}
}

// download reads the response and sends it to the client.
func (x *exchange) download() (switched bool, err error) {
	for range maxInterim {
		resp, err := readResponse(x.origin.reader, x.request.method)
		switch {
		case err != nil:
			return false, err
		case resp.status == http.StatusSwitchingProtocols:
			err := x.switchProtocols(resp)
			return err == nil, err
		case !resp.interim():
			return false, x.respond(resp)
		case x.request.minor == 0: // knows no interim responses (RFC 9110, section 15.2)
			continue
		}
		if err := x.send(resp.head(framing{noBody, -1}, "")); err != nil {
			return false, err
		}
	}
	return false, malformed("too many interim responses")
}

// switchProtocols sends the response that makes the connection a tunnel.
func (x *exchange) switchProtocols(resp *response) error {
	offered := fields{{"Upgrade", x.request.upgrades()}}
	chosen := ""
	for protocol := range resp.fields.elements("Upgrade") {
		if !offered.has("Upgrade", protocol) {
			return newRefusal(http.StatusBadGateway, "http_upgrade_failed", "the origin switched to a protocol that was not offered")
		}
		chosen = protocol
	}
	if chosen == "" {
		return newRefusal(http.StatusBadGateway, "http_upgrade_failed", "the origin switched to no protocol")
	}
	x.status = resp.status
	return x.send(resp.head(framing{noBody, -1}, "Connection: Upgrade\r\nUpgrade: "+chosen+"\r\n"))
}

// respond sends a response that answers the request. If its end is the end of the stream, the client gets it in chunks,
// so that the connection can go on; and the other way round if the client knows no chunks (RFC 9112, section 7.1.2).
func (x *exchange) respond(resp *response) error {
	f, connection := resp.framing, ""
	if f.delimiter == untilClose || f.delimiter == byChunks {
		f.delimiter = byChunks
		if x.request.minor == 0 {
			f.delimiter = untilClose
		}
	}
	x.again = x.request.persists() && x.body.ended.Load() && x.client.serving.Err() == nil
	if !x.again {
		connection = "Connection: close\r\n"
	}
	x.status = resp.status
	if err := x.send(resp.head(f, connection)); err != nil {
		return err
	}
	b := newBody(x.origin.reader, resp.framing)
	var readErr, writeErr error
	x.down, readErr, writeErr = carry(x.toClient(), b, f.delimiter == byChunks)
	if writeErr != nil {
		return errLeft
	}
	return readErr
}

// send sends the head of a response to the client.
func (x *exchange) send(head []byte) error {
	if _, err := x.toClient().Write(head); err != nil {
		return errLeft
	}
	return nil
}

func (x *exchange) toClient() io.Writer {
	return timedWriter{x.client, x.server.cfg.IdleTimeout}
}
