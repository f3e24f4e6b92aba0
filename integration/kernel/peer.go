package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// firstPort is the guest's UDP port of the first interface.
const firstPort = 51820

// Config is one WireGuard interface of the kernel and its only peer, which is
// the end under test.
type Config struct {
	// PrivateKey is the kernel's.
	PrivateKey key.Private
	// Addresses are the kernel's own in the tunnel.
	Addresses []netip.Prefix
	// PublicKey is the tested end's.
	PublicKey key.Public
	// Preshared is zero for none.
	Preshared key.Preshared
	// AllowedIPs are the tested end's addresses, which the kernel also gets
	// routes for. No two interfaces of a machine may share any.
	AllowedIPs []netip.Prefix
	// Port is the UDP port of the tested end on 127.0.0.1, so that the kernel
	// can call first; 0 has it wait for a call.
	Port uint16
	// Keepalive is the kernel's persistent keepalive in whole seconds; 0 is
	// none. With a Port it makes the kernel call at once.
	Keepalive time.Duration
}

// Peer is a WireGuard interface of the kernel.
type Peer struct {
	*Machine
	// Interface is its name in the guest.
	Interface string

	config    Config
	guestPort uint16
	hostPort  uint16
}

// Peer makes an interface that lives until the test is over.
func (m *Machine) Peer(t testing.TB, c Config) *Peer {
	t.Helper()
	n := m.links.Add(1) - 1
	p := &Peer{Machine: m, Interface: fmt.Sprintf("wg%d", n), config: c, guestPort: uint16(firstPort + n)}
	// The port first: the kernel may call at once, and it has to be from there.
	var err error
	if p.hostPort, err = m.qemu.monitor.forward(p.guestPort); err == nil {
		err = p.create()
	}
	if err != nil {
		t.Fatalf("making the kernel's interface %s: %v", p.Interface, err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("removing the kernel's interface %s: %v", p.Interface, err)
		}
	})
	return p
}

// create makes the interface in the guest.
func (p *Peer) create() error {
	var script strings.Builder
	fmt.Fprintf(&script, "set -e\nip link add %s type wireguard\n", p.Interface)
	// What wg says about a line that it refuses would quote it.
	fmt.Fprintf(&script, "wg setconf %s /proc/self/fd/0 2>/dev/null <<-end || { echo wg refuses the settings; exit 1; }\n%send\n", p.Interface, p.settings())
	for _, a := range p.config.Addresses {
		fmt.Fprintf(&script, "ip addr add %s dev %s\n", a, p.Interface)
	}
	fmt.Fprintf(&script, "ip link set %s up\n", p.Interface)
	for _, a := range p.config.AllowedIPs {
		fmt.Fprintf(&script, "ip route replace %s dev %s\n", a, p.Interface)
	}
	_, err := p.Exec(script.String())
	return err
}

// settings are those of wg(8). They hold secrets.
func (p *Peer) settings() string {
	c := &p.config
	allowed := make([]string, len(c.AllowedIPs))
	for i, a := range c.AllowedIPs {
		allowed[i] = a.String()
	}
	lines := []string{
		"[Interface]", "PrivateKey = " + c.PrivateKey.Base64(), fmt.Sprintf("ListenPort = %d", p.guestPort),
		"[Peer]", "PublicKey = " + c.PublicKey.String(), "AllowedIPs = " + strings.Join(allowed, ", "),
		fmt.Sprintf("PersistentKeepalive = %d", c.Keepalive/time.Second),
	}
	if !c.Preshared.IsZero() {
		lines = append(lines, "PresharedKey = "+c.Preshared.Base64())
	}
	if c.Port != 0 {
		lines = append(lines, fmt.Sprintf("Endpoint = %s:%d", hostAddress, c.Port))
	}
	return strings.Join(lines, "\n") + "\n"
}

// Endpoint is the UDP address on the host that leads to the interface.
func (p *Peer) Endpoint() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), p.hostPort)
}

// Dump says what the kernel knows about the tested end. It holds no secret.
func (p *Peer) Dump() (Dump, error) {
	line, err := p.Exec(fmt.Sprintf(dumpCommand, p.Interface))
	if err != nil {
		return Dump{}, err
	}
	return parseDump(line)
}

// Recreate removes the interface and makes it again, as a peer does that
// restarts: its keys and settings are the same, and everything that it learned
// is gone.
func (p *Peer) Recreate() error {
	if err := p.remove(); err != nil {
		return err
	}
	return p.create()
}

func (p *Peer) remove() error {
	_, err := p.Exec("ip link del " + p.Interface)
	return err
}

// Close removes the interface. Machine.Peer has the test call it.
func (p *Peer) Close() error {
	return errors.Join(p.qemu.monitor.unforward(p.hostPort), p.remove())
}
