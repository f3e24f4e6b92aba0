package kernel

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"testing"

	"github.com/wimble-proxy/wimble/netstack"
	"github.com/wimble-proxy/wimble/wireguard"
)

// dial opens a connection to the guest's echo.
func (tn *tunnel) dial(t *testing.T, to netip.Addr) *netstack.TCPConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := tn.net.DialContext(ctx, "tcp", netip.AddrPortFrom(to, echoPort).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*netstack.TCPConn)
}

// testTransfer: what goes to the kernel and back by TCP is the same.
func testTransfer(t *testing.T, l *lab) {
	const size = 4 << 20
	for i, family := range []string{"IPv4", "IPv6"} {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			tn := l.tunnel(t, options{caller: ours, preshared: true})
			sent := make([]byte, size)
			_, _ = rand.Read(sent) // never fails
			c := tn.dial(t, tn.far[i])
			wrote := make(chan error, 1)
			go func() {
				_, err := io.Copy(c, bytes.NewReader(sent))
				if err == nil {
					err = c.CloseWrite()
				}
				wrote <- err
			}()
			got, err := io.ReadAll(c)
			if err != nil {
				t.Errorf("reading what the kernel sends back: %v", err)
			}
			if err := <-wrote; err != nil {
				t.Errorf("sending: %v", err)
			}
			if sha256.Sum256(got) != sha256.Sum256(sent) {
				t.Errorf("sent %d bytes and got %d others back", len(sent), len(got))
			}
			t.Logf("%d bytes each way, %d TCP segments of ours sent again", size, tn.net.Stats().TCPRetransmits)
		})
	}
}

// testPortChange: the kernel follows us to another UDP port within the session.
func testPortChange(t *testing.T, l *lab) {
	tn := l.tunnel(t, options{caller: ours})
	tn.ping(t, tn.far[0])
	before := tn.agree(t)
	anyPort := uint16(0)
	if err := tn.device.Apply(wireguard.Change{ListenPort: &anyPort}); err != nil {
		t.Fatal(err)
	}
	tn.ping(t, tn.far[0])
	after := tn.agree(t)
	if port := tn.device.ListenPort(); after.Endpoint.Port() != port || port == before.Endpoint.Port() {
		t.Errorf("we moved from %v to port %d, and the kernel answers to %v", before.Endpoint, port, after.Endpoint)
	}
	tn.pinged(t, tn.near[0], 1)
	tn.pinged(t, tn.near[1], 1)
	if after := tn.agree(t); after.LatestHandshake != before.LatestHandshake {
		t.Error("there was another handshake")
	}
	t.Logf("before: %+v", before)
	t.Logf("after:  %+v", after)
}

// testRestart: the kernel forgets the session, and traffic comes back after a
// new handshake, whoever has something to send.
func testRestart(t *testing.T, l *lab) {
	for _, caller := range []caller{ours, kernels} {
		t.Run(fmt.Sprintf("call is %s", caller), func(t *testing.T) {
			t.Parallel()
			tn := l.tunnel(t, options{caller: caller})
			talk := func() {
				if caller == ours {
					tn.ping(t, tn.far[0])
				} else {
					tn.pinged(t, tn.near[0], 1)
				}
			}
			talk()
			before := tn.snapshot()
			if err := tn.peer.Recreate(); err != nil {
				t.Fatal(err)
			}
			talk()
			after := tn.snapshot()
			if !after.LastHandshake.After(before.LastHandshake) {
				t.Error("there was no new handshake")
			}
			t.Logf("a new session %v behind the first: %+v", after.LastHandshake.Sub(before.LastHandshake), tn.dump(t))
		})
	}
}
