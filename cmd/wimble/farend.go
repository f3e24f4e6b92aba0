package main

import (
	"context"
	_ "embed"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"text/template"
	"time"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/netstack"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

//go:embed page.txt
var pageText string

// farEnd is the other end of the demo's tunnel: a tunnel of its own, with a page and a name server on its address there,
// and a gateway to what the host reaches.
type farEnd struct {
	net    *netstack.Net
	page   *template.Template
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
	page, err := template.New("page").Parse(pageText)
	if err != nil {
		return nil, err
	}
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
	end := &farEnd{net: n, page: page, names: serveNames(conn, a.console.log, a.host.ResolveGateway)}
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

// visit is what the page tells.
type visit struct {
	Visitor   netip.Addr // as the tunnel shows it
	Here      netip.Addr
	Endpoint  netip.AddrPort
	Handshake string
	Age       string
	TheirKey  key.Public
	OurKey    key.Public
}

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
	_ = f.page.Execute(w, visit{
		Visitor: from.Addr(), Here: farAddress, Endpoint: peer.Endpoint,
		Handshake: peer.LastHandshake.UTC().Format(time.DateTime), Age: short(time.Since(peer.LastHandshake)),
		TheirKey: peer.PublicKey, OurKey: now.PublicKey,
	})
}
