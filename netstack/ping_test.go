package netstack

import (
	"context"
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard"
)

func TestPing(t *testing.T) {
	p := newPair(t)
	for _, dst := range []netip.Addr{right4, right6, left4, left6} {
		if took, err := p.left.Ping(t.Context(), dst); took <= 0 || err != nil {
			t.Errorf("Ping %v: %v, %v", dst, took, err)
		}
	}
	p.fromLeft.set(func() { p.fromLeft.refuse[nobody4] = wireguard.ErrNoPeer })
	if _, err := p.left.Ping(t.Context(), nobody4); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("Ping without a peer: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := p.left.Ping(ctx, nobody6); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ping without an answer: %v", err)
	}
	if _, err := p.left.Ping(t.Context(), netip.Addr{}); err == nil {
		t.Error("Ping of no address went well")
	}
}
