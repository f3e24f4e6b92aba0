package kernel

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/netstack"
	"github.com/wimble-proxy/wimble/wireguard"
	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// patience is how long what must happen may take. A handshake after a restart
// comes within 16 s; the rest is for a busy host.
const patience = 60 * time.Second

// lab makes tunnels through one machine, each with addresses of its own.
type lab struct {
	machine *Machine
	tunnels atomic.Uint32
}

// caller is the end that sends the first initiation.
type caller string

const (
	ours    caller = "ours"
	kernels caller = "the kernel's"
)

// options are what tunnels differ in.
type options struct {
	caller    caller
	preshared bool
	// keepalive is the persistent one of the caller.
	keepalive time.Duration
}

// tunnel has a Device of ours at one end and the kernel at the other.
type tunnel struct {
	net    *netstack.Net
	device *wireguard.Device
	peer   *Peer
	// near are our addresses, far the kernel's: IPv4 and IPv6.
	near, far [2]netip.Addr
}

// tunnel makes one that lives until the test is over. No handshake has to
// have happened when it returns.
func (l *lab) tunnel(t *testing.T, o options) *tunnel {
	t.Helper()
	tn, own, theirs := l.ends(t, o)
	if o.caller == ours {
		tn.peer = l.machine.Peer(t, theirs)
		own.Peers[0].Endpoint, own.Peers[0].PersistentKeepalive = tn.peer.Endpoint().String(), o.keepalive
		tn.net = open(t, own)
	} else {
		tn.net = open(t, own)
		theirs.Port, theirs.Keepalive = tn.net.Device().ListenPort(), o.keepalive
		tn.peer = l.machine.Peer(t, theirs)
	}
	tn.device = tn.net.Device()
	return tn
}

// ends makes up the addresses and keys of a tunnel.
func (l *lab) ends(t *testing.T, o options) (*tunnel, config.Tunnel, Config) {
	t.Helper()
	n := byte(l.tunnels.Add(1))
	address := func(host byte) [2]netip.Addr {
		return [2]netip.Addr{
			netip.AddrFrom4([4]byte{10, 64, n, host}),
			netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x64, 7: n, 15: host}),
		}
	}
	far, near := address(1), address(2)
	kernel, own := newPrivate(t), newPrivate(t)
	var psk key.Preshared
	if o.preshared {
		var err error
		if psk, err = key.NewPreshared(rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	return &tunnel{far: far, near: near},
		config.Tunnel{
			PrivateKey: own, Addresses: hosts(near),
			Peers: []config.Peer{{PublicKey: kernel.Public(), PresharedKey: psk, AllowedIPs: hosts(far)}},
		},
		Config{
			PrivateKey: kernel, Addresses: hosts(far),
			PublicKey: own.Public(), Preshared: psk, AllowedIPs: hosts(near),
		}
}

// open opens our end until the test is over.
func open(t *testing.T, c config.Tunnel) *netstack.Net {
	t.Helper()
	n, err := netstack.Open(t.Context(), c, netstack.Options{ListenPacket: loopback})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// loopback opens UDP sockets on 127.0.0.1 only.
func loopback(ctx context.Context, network, address string) (wireguard.PacketConn, error) {
	if network != "udp4" {
		return nil, &net.OpError{Op: "listen", Net: network, Err: syscall.EAFNOSUPPORT}
	}
	var lc net.ListenConfig
	c, err := lc.ListenPacket(ctx, network, "127.0.0.1"+address)
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

func newPrivate(t *testing.T) key.Private {
	t.Helper()
	k, err := key.NewPrivate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// hosts are the networks of one address each.
func hosts(addresses [2]netip.Addr) []netip.Prefix {
	prefixes := make([]netip.Prefix, len(addresses))
	for i, a := range addresses {
		prefixes[i] = netip.PrefixFrom(a, a.BitLen())
	}
	return prefixes
}

// ping has our end ping the kernel until an answer comes.
func (tn *tunnel) ping(t *testing.T, to netip.Addr) {
	t.Helper()
	eventually(t, func() (time.Duration, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return tn.net.Ping(ctx, to)
	})
}

// pinged has the kernel ping our end a number of times, with packets of 84
// bytes by IPv4 and 104 by IPv6.
func (tn *tunnel) pinged(t *testing.T, to netip.Addr, times int) {
	t.Helper()
	if _, err := tn.peer.Exec(fmt.Sprintf("ping -c %d -i 0.1 -W 20 -s 56 %s", times, to)); err != nil {
		t.Fatalf("the kernel pings %s: %v", to, err)
	}
}

// dump is what the kernel saw.
func (tn *tunnel) dump(t *testing.T) Dump {
	t.Helper()
	d, err := tn.peer.Dump()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// snapshot is what we saw.
func (tn *tunnel) snapshot() engine.PeerSnapshot {
	return tn.device.Snapshot().Peers[0]
}

// agree waits until each end has received what the other has sent, to the
// byte, and returns the kernel's view. What is under way gets the time that it
// needs; what was lost or counted differently never agrees.
func (tn *tunnel) agree(t *testing.T) Dump {
	t.Helper()
	return eventually(t, func() (Dump, error) {
		d, s := tn.dump(t), tn.snapshot()
		if d.Received != s.Sent || d.Sent != s.Received {
			return d, fmt.Errorf("the kernel received %d and sent %d bytes, we sent %d and received %d",
				d.Received, d.Sent, s.Sent, s.Received)
		}
		return d, nil
	})
}

// eventually tries again until try succeeds.
func eventually[T any](t *testing.T, try func() (T, error)) T {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		result, err := try()
		if err == nil {
			return result
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", patience, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
