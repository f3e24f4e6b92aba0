package netstack_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/netip"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/netstack"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// Both ends of a tunnel in one program: a web server on an address of the one,
// and a client that reaches it through the other. A tunnel from a file is what
// config.ReadWireGuard returns.
func ExampleOpen() {
	ctx := context.Background()
	near, far := newKey(), newKey()

	server := open(ctx, config.Tunnel{
		PrivateKey: far,
		Addresses:  []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")},
		Peers:      []config.Peer{{PublicKey: near.Public(), AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/32")}}},
	})
	defer server.Close()
	ln, err := server.Listen(ctx, "tcp", "10.0.0.1:80")
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:errcheck // it ends with ln
		fmt.Fprintf(w, "hello from %s", r.Host)
	}))

	client := open(ctx, config.Tunnel{
		PrivateKey: near,
		Addresses:  []netip.Prefix{netip.MustParsePrefix("10.0.0.2/32")},
		Peers: []config.Peer{{
			PublicKey:  far.Public(),
			Endpoint:   fmt.Sprintf("127.0.0.1:%d", server.Device().ListenPort()),
			AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")},
		}},
	})
	defer client.Close()
	transport := &http.Transport{DialContext: client.DialContext}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("http://10.0.0.1/")
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	fmt.Println(string(body), err)
	// Output: hello from 10.0.0.1 <nil>
}

func newKey() key.Private {
	k, err := key.NewPrivate(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	return k
}

func open(ctx context.Context, t config.Tunnel) *netstack.Net {
	n, err := netstack.Open(ctx, t, netstack.Options{})
	if err != nil {
		log.Fatal(err)
	}
	return n
}
