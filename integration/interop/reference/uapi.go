package main

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/wimble-proxy/wimble/config"
)

// uapi is a configuration in the words of the userspace protocol.
func uapi(c config.Tunnel) string {
	var b strings.Builder
	line := func(name string, value any) { fmt.Fprintf(&b, "%s=%v\n", name, value) }
	key := func(name string, k [32]byte) { line(name, hex.EncodeToString(k[:])) }
	key("private_key", c.PrivateKey.Bytes())
	line("listen_port", c.ListenPort)
	for _, p := range c.Peers {
		key("public_key", p.PublicKey.Bytes())
		if p.Endpoint != "" {
			line("endpoint", p.Endpoint)
		}
		for _, prefix := range p.AllowedIPs {
			line("allowed_ip", prefix)
		}
	}
	return b.String()
}
