package main

import (
	"context"
	_ "embed"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/netstack"
)

//go:embed page.txt
var pageText string

// farEnd is the other end of the demo's tunnel: a tunnel of its own, with a page and a name server on its address there,
// and a gateway to what the host reaches.
type farEnd struct {
	net    *netstack.Net
	server http.Server
	serve  sync.WaitGroup
	names  *nameServer
}

// everything is what the gateway lets through, but for what package forward takes out of every wide rule: the host
// itself, its links, and the metadata services of clouds.
var everything = []config.Rule{
	{Network: netip.MustParsePrefix("0.0.0.0/0"), FirstPort: 1, LastPort: 65535},
	{Network: netip.MustParsePrefix("::/0"), FirstPort: 1, LastPort: 65535},
}

func (a *app) openFarEnd(ctx context.Context, t config.Tunnel, protected ...net.Listener) (*farEnd, error) {
	o := netstack.Options{ListenPacket: a.host.ListenPacketLoopback, Resolve: a.host.Resolve, Logger: a.console.log}
	a.newGateway(everything, protected, -1).attach(&o)
	n, err := netstack.Open(ctx, t, o)
	if err != nil {
		return nil, err
	}
	ln, err1 := n.Listen(ctx, "tcp", netip.AddrPortFrom(farAddress, 80).String())
	conn, err2 := n.ListenPacket(ctx, "udp", netip.AddrPortFrom(farAddress, 53).String())
	if err := errors.Join(err1, err2); err != nil {
		n.Close()
		return nil, err
	}
	end := &farEnd{net: n, names: serveNames(conn, a.console.log, a.host.ResolveGateway)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", end.writePage)
	end.server = http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(a.console.log.Handler(), slog.LevelWarn),
	}
	end.serve.Go(func() {
		_ = end.server.Serve(ln) // ends by close only
	})
	return end, nil
}

// close ends the page, the name server and the tunnel.
func (f *farEnd) close() {
	f.server.Close()
	f.serve.Wait()
	f.names.close()
	f.net.Close()
}

// writePage fills the page in. Package text/template would make the whole program larger by a quarter, as the linker keeps
// every method then that a template might call.
func (f *farEnd) writePage(w http.ResponseWriter, r *http.Request) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	now := f.net.Device().Snapshot()
	peer := now.Peers[0] // there is no other
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	// It fails only when the visitor is gone.
	_, _ = strings.NewReplacer(
		"{visitor}", from.Addr().String(),
		"{here}", farAddress.String(),
		"{handshake}", peer.LastHandshake.UTC().Format(time.DateTime),
		"{age}", short(time.Since(peer.LastHandshake)),
		"{your key}", peer.PublicKey.String(),
		"{endpoint}", peer.Endpoint.String(),
		"{this key}", now.PublicKey.String(),
	).WriteString(w, pageText)
}
