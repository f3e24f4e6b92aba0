//go:build !linux

package wireguard

import (
	"log/slog"

	"github.com/wimble-proxy/wimble/wireguard/engine"
)

// platform is empty: these systems get one datagram per system call.
type platform struct{}

func (s *socket) setup(*slog.Logger) {}

func (s *socket) send(datagrams []byte, stride int, to engine.Endpoint) error {
	return s.sendSingly(datagrams, stride, to)
}

func (s *socket) receive(handle func([]train)) error { return s.receiveSingly(handle) }
