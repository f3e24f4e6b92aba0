package kernel

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Dump is what the kernel says about our end, by wg(8).
type Dump struct {
	// Endpoint is where it last heard us, not valid for never. Our host is
	// 10.0.2.2 there, with the true port.
	Endpoint netip.AddrPort
	// LatestHandshake is by the guest's clock, in whole seconds; zero for
	// never.
	LatestHandshake time.Time
	// Received and Sent count bytes of UDP payload, handshakes included.
	Received, Sent uint64
}

// dumpCommand prints the line of the only peer of an interface without its
// secrets, which so never leave the guest: the first line has the private key,
// the second column the preshared one.
const dumpCommand = "wg show %s dump | sed 1d | cut -f 1,3-"

// parseDump reads a line of wg's dump without the preshared key: public key,
// endpoint, allowed IPs, latest handshake, bytes received and sent, keepalive.
func parseDump(line string) (Dump, error) {
	f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
	if len(f) != 7 {
		return Dump{}, fmt.Errorf("wg dump: %d columns, want 7", len(f))
	}
	var d Dump
	var err error
	if f[1] != "(none)" {
		if d.Endpoint, err = netip.ParseAddrPort(f[1]); err != nil {
			return Dump{}, fmt.Errorf("wg dump: endpoint: %w", err)
		}
	}
	seconds, err := strconv.ParseInt(f[3], 10, 64)
	if err != nil {
		return Dump{}, fmt.Errorf("wg dump: latest handshake: %w", err)
	}
	if seconds != 0 {
		d.LatestHandshake = time.Unix(seconds, 0)
	}
	if d.Received, err = strconv.ParseUint(f[4], 10, 64); err != nil {
		return Dump{}, fmt.Errorf("wg dump: received: %w", err)
	}
	if d.Sent, err = strconv.ParseUint(f[5], 10, 64); err != nil {
		return Dump{}, fmt.Errorf("wg dump: sent: %w", err)
	}
	return d, nil
}
