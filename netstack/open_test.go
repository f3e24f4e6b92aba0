package netstack

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/wireguard"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// tunnels are two configurations that are each other's only peer. The second
// knows where the first is.
func tunnels(t *testing.T) (a, b config.Tunnel) {
	for i, side := range []*config.Tunnel{&a, &b} {
		k, err := key.NewPrivate(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		side.PrivateKey = k
		n := byte(i + 1)
		side.Addresses = []netip.Prefix{
			netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, n}), 24),
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 15: n}), 64),
		}
	}
	psk, err := key.NewPreshared(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	peer := func(of *config.Tunnel) config.Peer {
		p := config.Peer{PublicKey: of.PrivateKey.Public(), PresharedKey: psk}
		for _, prefix := range of.Addresses {
			p.AllowedIPs = append(p.AllowedIPs, netip.PrefixFrom(prefix.Addr(), prefix.Addr().BitLen()))
		}
		return p
	}
	a.Peers, b.Peers = []config.Peer{peer(&b)}, []config.Peer{peer(&a)}
	return a, b
}

// A tunnel over UDP on loopback, from the handshake on.
func TestOpen(t *testing.T) {
	a, b := tunnels(t)
	first, err := Open(t.Context(), a, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, err = first.DialContext(t.Context(), "tcp", "10.0.0.2:80")
	if !errors.Is(err, wireguard.ErrNoEndpoint) || !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("dial before the peer has called: %v", err)
	}
	_, err = first.DialContext(t.Context(), "tcp", "10.0.0.3:80")
	if !errors.Is(err, wireguard.ErrNoPeer) || !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("dial of an address without a peer: %v", err)
	}

	b.Peers[0].Endpoint = net.JoinHostPort("127.0.0.1", strconv.Itoa(int(first.Device().ListenPort())))
	second, err := Open(t.Context(), b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if _, err := second.Ping(t.Context(), netip.MustParseAddr("10.0.0.1")); err != nil {
		t.Errorf("ping: %v", err)
	}
	if _, err := first.Ping(t.Context(), netip.MustParseAddr("fd00::2")); err != nil {
		t.Errorf("ping the other way: %v", err)
	}
	l, err := first.Listen(t.Context(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	data := noise(1, 2<<20)
	for _, to := range []string{"10.0.0.1:80", "[fd00::1]:80"} {
		c, err := second.DialContext(t.Context(), "tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for _, way := range [][2]net.Conn{{c, s}, {s, c}} {
			go func() {
				_, _ = way[0].Write(data)
				_ = way[0].(*TCPConn).CloseWrite()
			}()
			if got, err := io.ReadAll(way[1]); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: %d bytes, %v", to, len(got), err)
			}
		}
	}
}

func TestOpenFails(t *testing.T) {
	a, _ := tunnels(t)
	first, err := Open(t.Context(), a, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	a.ListenPort = first.Device().ListenPort()
	if _, err := Open(t.Context(), a, Options{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a port in use: %v", err)
	}
	a.ListenPort, a.MTU = 0, 1000
	if _, err := Open(t.Context(), a, Options{}); err == nil {
		t.Error("an MTU that is too small for IPv6 went well")
	}
	a.MTU = 0
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Open(canceled, a, Options{
		ListenPacket: func(ctx context.Context, _, _ string) (wireguard.PacketConn, error) {
			<-ctx.Done()
			return nil, errors.New("no socket")
		},
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Open that is given up: %v", err)
	}
}

// TestOpenTogether: tunnels that are opened at the same time share what the
// stack has one of for the whole process.
func TestOpenTogether(t *testing.T) {
	var opening sync.WaitGroup
	for range 8 {
		opening.Go(func() {
			private, err := key.NewPrivate(rand.Reader)
			if err != nil {
				t.Error(err)
				return
			}
			n, err := Open(t.Context(), config.Tunnel{
				PrivateKey: private, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")},
			}, Options{})
			if err != nil {
				t.Error(err)
				return
			}
			n.Close()
		})
	}
	opening.Wait()
}
