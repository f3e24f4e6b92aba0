package proxy

import (
	"io"
	"testing"
	"testing/synctest"

	"github.com/things-go/go-socks5/statute"
)

// TestRequestIsAllThatIsRead shows that negotiating takes a request as it is, of every command and kind of address, and
// leaves what follows to be read: neither a name is resolved nor the connection closed.
func TestRequestIsAllThatIsRead(t *testing.T) {
	for _, command := range []byte{statute.CommandConnect, statute.CommandBind, statute.CommandAssociate} {
		for _, to := range []string{toV4, connectTo("localhost"), "\x05\x01\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x50"} {
			synctest.Test(t, func(t *testing.T) {
				near, far := newMemPair()
				defer far.Close()
				send(far, hello+to[:1]+string([]byte{command})+to[2:]+"early")
				go func() { _, _ = io.Copy(io.Discard, far) }()

				s, err := New(Config{Dial: echo})
				if err != nil {
					t.Fatal(err)
				}
				c := s.newClient(t.Context(), near)
				request := s.negotiate(c)
				if request == nil || request.Command != command {
					t.Fatalf("command %02x, request % x: the request read is %+v", command, to, request)
				}
				if ip := request.DstAddr.IP; request.DstAddr.FQDN != "" && ip != nil {
					t.Errorf("command %02x, request % x: the name was resolved to %v", command, to, ip)
				}
				expect(t, c.reader, "early")
				near.Close()
			})
		}
	}
}
