package main

import (
	"net/netip"
	"os"
	"time"
)

// status is what a running instance tells of itself. It holds no secret.
type status struct {
	Name      string           `json:"name"`
	Version   string           `json:"version"`
	PID       int              `json:"pid"`
	Ready     bool             `json:"ready"`            // what is to listen does, and every tunnel can be used
	Reason    string           `json:"reason,omitempty"` // why it is not
	Tunnels   []tunnelStatus   `json:"tunnels"`
	Listeners []listenerStatus `json:"listeners"`
}

type tunnelStatus struct {
	Name      string       `json:"name"`
	PublicKey string       `json:"public_key"`
	Ready     bool         `json:"ready"`
	Reason    string       `json:"reason,omitempty"`
	Peers     []peerStatus `json:"peers"`
}

type peerStatus struct {
	PublicKey     string         `json:"public_key"`
	Endpoint      netip.AddrPort `json:"endpoint,omitzero"`
	LastHandshake time.Time      `json:"last_handshake,omitzero"`
	Received      uint64         `json:"received"` // bytes of UDP payload
	Sent          uint64         `json:"sent"`
}

type listenerStatus struct {
	Kind    string `json:"kind"` // proxy or forward
	What    string `json:"what"`
	Address string `json:"address"`
	Tunnel  string `json:"tunnel"`
	Conns   int    `json:"connections"`
}

// status is what is to be told of a session.
func (s *session) status() status {
	now := status{Name: s.name, Version: version(), PID: os.Getpid(), Ready: true}
	for _, t := range s.tunnels {
		of := t.status()
		if !of.Ready {
			now.Ready, now.Reason = false, of.Reason
		}
		now.Tunnels = append(now.Tunnels, of)
	}
	for _, service := range s.services {
		now.Listeners = append(now.Listeners, listenerStatus{
			Kind: service.kind, What: service.what, Address: service.ln.Addr().String(),
			Tunnel: service.tunnel, Conns: service.conns(),
		})
	}
	return now
}

func (t *tunnel) status() tunnelStatus {
	snapshot := t.net.Device().Snapshot()
	now := tunnelStatus{Name: t.Name, PublicKey: snapshot.PublicKey.String()}
	now.Ready, now.Reason = t.ready()
	for _, p := range snapshot.Peers {
		now.Peers = append(now.Peers, peerStatus{
			PublicKey: p.PublicKey.String(), Endpoint: p.Endpoint, LastHandshake: p.LastHandshake, Received: p.Received, Sent: p.Sent,
		})
	}
	return now
}
