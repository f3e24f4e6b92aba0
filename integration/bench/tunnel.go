package main

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// tunnel is one WireGuard tunnel: a configuration for each end.
type tunnel struct {
	number            uint16
	nearFile, farFile string
	inside            netip.Addr // the far end's
	nearInside        netip.Addr
}

// newTunnel makes keys and writes both configurations as wg-quick files, which all programs take. The near end calls
// endpoint; the far end listens on a port. Idle peers are added to the near end's configuration, with no endpoint.
func (l *lab) newTunnel(endpoint netip.AddrPort, port uint16, idlePeers int) (*tunnel, error) {
	near, err := key.NewPrivate(rand.Reader)
	if err != nil {
		return nil, err
	}
	far, err := key.NewPrivate(rand.Reader)
	if err != nil {
		return nil, err
	}
	l.tunnels++
	n := byte(l.tunnels)
	t := &tunnel{
		number: l.tunnels, inside: netip.AddrFrom4([4]byte{10, 99, n, 1}), nearInside: netip.AddrFrom4([4]byte{10, 99, n, 2}),
		nearFile: filepath.Join(l.dir, fmt.Sprintf("near%d.conf", l.tunnels)),
		farFile:  filepath.Join(l.dir, fmt.Sprintf("far%d.conf", l.tunnels)),
	}
	var b strings.Builder
	fmt.Fprintf(&b, "[Interface]\nPrivateKey = %s\nAddress = %v/24\n\n[Peer]\nPublicKey = %v\nAllowedIPs = %v/32\nEndpoint = %v\n",
		near.Base64(), t.nearInside, far.Public(), t.inside, endpoint)
	for i := range idlePeers {
		k, err := key.NewPrivate(rand.Reader)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "\n[Peer]\nPublicKey = %v\nAllowedIPs = 10.98.%d.%d/32\n", k.Public(), i>>8, i&0xff)
	}
	if err := os.WriteFile(t.nearFile, []byte(b.String()), 0o600); err != nil {
		return nil, err
	}
	text := fmt.Sprintf("[Interface]\nPrivateKey = %s\nAddress = %v/24\nListenPort = %d\n\n[Peer]\nPublicKey = %v\nAllowedIPs = %v/32\n",
		far.Base64(), t.inside, port, near.Public(), t.nearInside)
	return t, os.WriteFile(t.farFile, []byte(text), 0o600)
}
