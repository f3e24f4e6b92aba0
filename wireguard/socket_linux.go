package wireguard

import (
	"log/slog"

	"github.com/wimble-proxy/wimble/wireguard/engine"
)

type platform struct{}

func (s *socket) setup(*slog.Logger) {}

func (s *socket) send(datagrams []byte, stride int, to engine.Endpoint) error {
	return s.sendSingly(datagrams, stride, to)
}

func (s *socket) receive(buf []byte) (n, stride int, from engine.Endpoint, err error) {
	return s.receiveSingly(buf)
}
