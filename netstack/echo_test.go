package netstack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// TestN8 pings through a gateway.
func TestN8(t *testing.T) {
	for _, addr := range []netip.Addr{foreign4, foreign6} {
		for _, c := range []struct {
			name   string
			answer error
			want   error
		}{
			{"answered", nil, nil},
			{"not allowed", syscall.EACCES, syscall.EHOSTUNREACH}, // what the stack makes of "prohibited"
			{"unreachable", syscall.EHOSTUNREACH, syscall.EHOSTUNREACH},
			{"no network", syscall.ENETUNREACH, syscall.ENETUNREACH},
		} {
			t.Run(fmt.Sprintf("%v %s", addr, c.name), func(t *testing.T) {
				p := newGateway(t, Options{
					Accept: func(context.Context, Flow) {},
					Echo: func(_ context.Context, source, destination netip.Addr, data []byte) error {
						if destination != addr || source != left4 && source != left6 || len(data) != pingNonce {
							t.Errorf("echo from %v to %v with %d bytes", source, destination, len(data))
						}
						return c.answer
					},
				})
				if _, err := p.left.Ping(t.Context(), addr); !errors.Is(err, c.want) {
					t.Errorf("Ping: %v; want %v", err, c.want)
				}
				if s := p.right.Stats(); s.EchoesOffered != 1 || s.FlowsPending != 0 {
					t.Errorf("%d echo requests were offered and %d are pending; want 1 and 0", s.EchoesOffered, s.FlowsPending)
				}
			})
		}
	}
}
