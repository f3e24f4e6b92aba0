package interop

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"

	"github.com/wimble-proxy/wimble/config"
)

// foreign is wireguard-go with its stack.
type foreign struct {
	device *device.Device
	stack  *netstack.Net
}

// openForeign starts wireguard-go with a configuration that we would take too,
// so that both ends of a tunnel are described in the same words.
func openForeign(t testing.TB, c config.Tunnel) *foreign {
	t.Helper()
	return openForeignOn(t, c, conn.NewDefaultBind())
}

// openForeignOn is openForeign with other sockets.
func openForeignOn(t testing.TB, c config.Tunnel, sockets conn.Bind) *foreign {
	t.Helper()
	var addrs []netip.Addr
	for _, p := range c.Addresses {
		addrs = append(addrs, p.Addr())
	}
	tun, stack, err := netstack.CreateNetTUN(addrs, nil, cmp.Or(c.MTU, device.DefaultMTU))
	if err != nil {
		t.Fatal(err)
	}
	f := &foreign{stack: stack}
	f.device = device.NewDevice(tun, sockets, &device.Logger{Verbosef: device.DiscardLogf, Errorf: device.DiscardLogf})
	// Down, not Close: Close closes a channel of the stack's while the stack
	// may be sending on it, and panics.
	t.Cleanup(func() {
		if err := f.device.Down(); err != nil {
			t.Error(err)
		}
	})
	if err := f.device.IpcSet(uapi(c)); err != nil {
		t.Fatal(err)
	}
	if err := f.device.Up(); err != nil {
		t.Fatal(err)
	}
	return f
}

// uapi is a configuration in the words of the userspace protocol.
func uapi(c config.Tunnel) string {
	var b strings.Builder
	line := func(name string, value any) { fmt.Fprintf(&b, "%s=%v\n", name, value) }
	key := func(name string, k [32]byte) { line(name, hex.EncodeToString(k[:])) }
	key("private_key", c.PrivateKey.Bytes())
	line("listen_port", c.ListenPort)
	for _, p := range c.Peers {
		key("public_key", p.PublicKey.Bytes())
		key("preshared_key", p.PresharedKey.Bytes())
		if p.Endpoint != "" {
			line("endpoint", p.Endpoint)
		}
		line("persistent_keepalive_interval", int(p.PersistentKeepalive.Seconds()))
		for _, prefix := range p.AllowedIPs {
			line("allowed_ip", prefix)
		}
	}
	return b.String()
}

// state is what wireguard-go says about itself and its only peer, by the names
// of the userspace protocol.
func (f *foreign) state(t testing.TB) map[string]string {
	t.Helper()
	text, err := f.device.IpcGet()
	if err != nil {
		t.Fatal(err)
	}
	state := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		state[name] = value
	}
	return state
}

// number is a number out of the state.
func (f *foreign) number(t testing.TB, name string) uint64 {
	t.Helper()
	return parseNumber(t, f.state(t), name)
}

func parseNumber(t testing.TB, state map[string]string, name string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(state[name], 10, 64)
	if err != nil {
		t.Fatalf("wireguard-go's %s: %v; it has %v", name, err, slices.Sorted(maps.Keys(state)))
	}
	return n
}

// port is the UDP port on which it listens.
func (f *foreign) port(t testing.TB) uint16 {
	t.Helper()
	return uint16(f.number(t, "listen_port"))
}

// lastHandshake is when it completed its newest handshake.
func (f *foreign) lastHandshake(t testing.TB) time.Time {
	t.Helper()
	state := f.state(t) // once: both lines are of one handshake
	return time.Unix(int64(parseNumber(t, state, "last_handshake_time_sec")), int64(parseNumber(t, state, "last_handshake_time_nsec")))
}

func (f *foreign) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return f.stack.DialContext(ctx, network, address)
}

func (f *foreign) Listen(_ context.Context, _, address string) (net.Listener, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	return f.stack.ListenTCPAddrPort(at)
}

func (f *foreign) ListenPacket(_ context.Context, _, address string) (net.PacketConn, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	return f.stack.ListenUDPAddrPort(at)
}

// Ping pings until an answer is noticed: a PingConn misses one that comes
// before it reads, and all that follow.
func (f *foreign) Ping(ctx context.Context, dst netip.Addr) (time.Duration, error) {
	for ctx.Err() == nil {
		took, err := f.pingOnce(dst)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return took, err
		}
	}
	return 0, ctx.Err()
}

func (f *foreign) pingOnce(dst netip.Addr) (time.Duration, error) {
	c, err := f.stack.DialPingAddr(netip.Addr{}, dst)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	request, reply := echoRequest(dst), make([]byte, 1500)
	start := time.Now()
	if _, err := c.Write(request); err != nil {
		return 0, err
	}
	if err := c.SetReadDeadline(start.Add(time.Second)); err != nil {
		return 0, err
	}
	n, err := c.Read(reply)
	if err == nil && !bytes.Equal(reply[echoHeader:n], request[echoHeader:]) {
		err = fmt.Errorf("%v answered an echo request with other data", dst)
	}
	return time.Since(start), err
}

// echoHeader is the length of an echo message without its data.
const echoHeader = 8

// echoRequest is an echo request as large as ping(8)'s.
func echoRequest(dst netip.Addr) []byte {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{Seq: 1, Data: bytes.Repeat([]byte("wimble "), 8)}}
	if dst.Is6() {
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	b, err := m.Marshal(nil)
	if err != nil {
		panic(err) // an Echo of this size can be marshalled
	}
	return b
}
