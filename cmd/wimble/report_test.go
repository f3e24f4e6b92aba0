package main

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/config"
)

// TestKeepalive: a peer is greeted with a keepalive that it does not have, and keeps the one that it does have.
func TestKeepalive(t *testing.T) {
	for _, want := range []time.Duration{0, 7 * time.Second} {
		near, far, err := demoTunnels()
		if err != nil {
			t.Fatal(err)
		}
		near.Peers[0].Endpoint = fmt.Sprintf("127.0.0.1:%d", openFar(t, far).net.Device().ListenPort())
		near.Peers[0].PersistentKeepalive = want
		s := quietApp().newSession(newPlan("the test", config.Config{Tunnels: []config.Tunnel{near}}))
		if err := s.open(t.Context()); err != nil {
			t.Fatal(err)
		}
		if near.Peers[0].PersistentKeepalive != want {
			t.Error("the configuration was changed")
		}
		s.main = func(context.Context) error {
			<-s.said
			if got := s.tunnels[0].net.Device().Snapshot().Peers[0].Keepalive; got != want {
				t.Errorf("after the handshake the keepalive is %v, want %v", got, want)
			}
			return nil
		}
		if err := s.serve(t.Context()); err != nil {
			t.Error(err)
		}
		s.close()
	}
}

// openFar opens the far end of a tunnel in this process.
func openFar(t *testing.T, far config.Tunnel) *farEnd {
	t.Helper()
	end, err := quietApp().openFarEnd(t.Context(), far)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end.close)
	return end
}

func quietApp() *app {
	return &app{host: new(hostNet), console: newConsole(io.Discard)}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		412 * time.Microsecond:     "0.4 ms",
		23456 * time.Microsecond:   "23 ms",
		999 * time.Millisecond:     "999 ms",
		5123 * time.Millisecond:    "5.1 s",
		90*time.Second + time.Hour: "3690.0 s",
	} {
		if got := short(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}
