package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/netstack"
)

// tunnel is one of a session's that is up.
type tunnel struct {
	config.Tunnel
	net     *netstack.Net
	greeter *greeter
}

// openTunnel brings a tunnel up. Its place is what messages call its configuration; met is told the first meeting with
// each peer.
func openTunnel(ctx context.Context, t config.Tunnel, place string, met chan<- meeting, o netstack.Options) (*tunnel, error) {
	opened := &tunnel{Tunnel: t}
	opened.greeter = newGreeter(opened, met)
	o.OnEvent = opened.greeter.event
	var err error
	opened.net, err = netstack.Open(ctx, eager(t), o)
	switch {
	case err == nil:
		return opened, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, refuse(place, fmt.Errorf("UDP port %d, its ListenPort, is in use", t.ListenPort),
			"stop the program that has it, or remove the line to let the system choose")
	case errors.Is(err, syscall.EACCES):
		return nil, refuse(place, fmt.Errorf("the system does not let this user have UDP port %d, its ListenPort", t.ListenPort),
			"choose one above 1023, or remove the line to let the system choose")
	}
	return nil, err
}

// called are the peers that we call.
func (t *tunnel) called() (peers []config.Peer) {
	for _, p := range t.Peers {
		if p.Endpoint != "" {
			peers = append(peers, p)
		}
	}
	return peers
}
