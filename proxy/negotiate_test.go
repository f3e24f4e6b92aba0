package proxy

import (
	"io"
	"testing"
	"testing/synctest"

	"github.com/things-go/go-socks5/statute"
)

// TestNoDefaultHandler shows that go-socks5 gives every well-formed request away: only our handler notes it, so a
// default one, which would dial, resolve or listen on the host, would leave it out. So would a new release that looks
// for handlers elsewhere.
func TestNoDefaultHandler(t *testing.T) {
	for _, command := range []byte{statute.CommandConnect, statute.CommandBind, statute.CommandAssociate} {
		for _, to := range []string{toV4, connectTo("localhost"), "\x05\x01\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x50"} {
			synctest.Test(t, func(t *testing.T) {
				near, far := newMemPair()
				defer far.Close()
				send(far, hello+to[:1]+string([]byte{command})+to[2:]+"early")
				go func() { _, _ = io.Copy(io.Discard, far) }()

				h := &handshake{client: newClient(t.Context(), near)}
				if err := newNegotiator(anonymous{}).ServeConn(h); err != nil {
					t.Errorf("command %02x, request % x: %v", command, to, err)
				}
				if h.request == nil || h.request.Command != command {
					t.Fatalf("command %02x, request % x: the request noted is %+v", command, to, h.request)
				}
				if ip := h.request.DestAddr.IP; h.request.DestAddr.FQDN != "" && ip != nil {
					t.Errorf("command %02x, request % x: the name was resolved to %v", command, to, ip)
				}
				// All that follows the request is still ours: neither read by the library nor closed.
				expect(t, h.reader, "early")
				near.Close()
			})
		}
	}
}

func TestBackstopRefuses(t *testing.T) {
	if c, err := refuseDial(t.Context(), "tcp", "127.0.0.1:80"); c != nil || err == nil {
		t.Errorf("refuseDial = %v, %v; want an error", c, err)
	}
}
