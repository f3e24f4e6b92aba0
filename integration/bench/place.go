package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// place is a network namespace, "" for the bench's own, with its address on the way to the other place.
type place struct {
	namespace string
	address   netip.Addr
}

// makeNamespaces makes the two places network namespaces. There the kernel's TCP uses CUBIC, whatever the machine
// prefers: by route, because the setting takes only what the machine allows everybody.
func (l *lab) makeNamespaces(ctx context.Context) error {
	if os.Getuid() != 0 {
		return errors.New("it needs root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return err
	}
	name := fmt.Sprintf("wimble-bench-%d-", os.Getpid())
	near := place{name + "near", netip.MustParseAddr("198.18.0.1")} // RFC 2544's, for benchmarks
	far := place{name + "far", netip.MustParseAddr("198.18.0.2")}
	script := strings.NewReplacer("NEAR", near.namespace, "FAR", far.namespace, "A1", near.address.String(), "A2", far.address.String()).Replace(`
netns add NEAR
netns add FAR
-n NEAR link add veth type veth peer name veth netns FAR
-n NEAR address add A1/30 dev veth
-n FAR address add A2/30 dev veth
-n NEAR link set veth up
-n FAR link set veth up
-n NEAR link set lo up
-n FAR link set lo up
-n NEAR route replace A2 dev veth congctl cubic
-n FAR route replace A1 dev veth congctl cubic
-n NEAR route replace local 127.0.0.1 dev lo table local src 127.0.0.1 congctl cubic
netns exec NEAR sh -c PORTS
netns exec FAR sh -c PORTS`)
	// Ports enough for thousands of connections a second.
	const ports = "cd /proc/sys/net/ipv4 && echo 1 >tcp_tw_reuse && echo 25000 65000 >ip_local_port_range"
	for line := range strings.Lines(strings.TrimSpace(script)) {
		args := strings.Fields(line)
		if last := &args[len(args)-1]; *last == "PORTS" {
			*last = ports
		}
		if _, err := command(ctx, "", append([]string{"ip"}, args...)...); err != nil {
			return errors.Join(err, near.remove(), far.remove())
		}
	}
	l.near, l.far = near, far
	return nil
}

// addDevice gives a TUN device its address, and the route to the other end.
func (p place) addDevice(ctx context.Context, device string, own, other netip.Addr) error {
	for _, args := range [][]string{
		{"address", "add", own.String(), "dev", device},
		{"link", "set", device, "up"},
		{"route", "add", other.String(), "dev", device, "src", own.String(), "congctl", "cubic"},
	} {
		if _, err := command(ctx, "", append([]string{"ip", "-n", p.namespace}, args...)...); err != nil {
			return err
		}
	}
	return nil
}

// remove removes the namespace, with the devices in it, if there is one.
func (p place) remove() error {
	if p.namespace == "" {
		return nil
	}
	// The bench's context may have ended, by a Ctrl-C.
	ctx := context.Background()
	if list, err := command(ctx, "", "ip", "netns", "list"); err != nil || !strings.Contains(list, p.namespace) {
		return err
	}
	_, err := command(ctx, "", "ip", "netns", "delete", p.namespace)
	return err
}
