package interop

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// packet is what a device of the host was given to send.
type packet struct {
	device   string
	protocol int // IPPROTO_*, or 0 if it is no IP packet
	from, to netip.AddrPort
	icmp     byte // the type of an ICMP message
}

func (p packet) String() string {
	return fmt.Sprintf("protocol %d, type %d from %v to %v by %s", p.protocol, p.icmp, p.from, p.to, p.device)
}

// capture has all that the host sends, in the namespace where it was started.
type capture struct {
	fd   int
	end  chan struct{} // closed to end it
	done sync.WaitGroup

	mu      sync.Mutex
	packets []packet // guarded by mu
}

// startCapture captures on all devices until take.
func startCapture(t *testing.T) *capture {
	t.Helper()
	everything := int(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL)))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, everything)
	if err != nil {
		t.Fatal(err)
	}
	// It looks up so often whether it is to end.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}); err != nil {
		t.Fatal(err)
	}
	c := &capture{fd: fd, end: make(chan struct{})}
	devices, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	names := map[int]string{}
	for _, d := range devices {
		names[d.Index] = d.Name
	}
	c.done.Go(func() { c.run(names) })
	return c
}

// run captures until it is told to end and nothing is left.
func (c *capture) run(names map[int]string) {
	buf := make([]byte, 128) // all headers
	for {
		n, from, err := unix.Recvfrom(c.fd, buf, 0)
		link, ok := from.(*unix.SockaddrLinklayer)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil: // EAGAIN
			select {
			case <-c.end:
				return
			default:
			}
		case ok && link.Pkttype == unix.PACKET_OUTGOING:
			c.mu.Lock()
			c.packets = append(c.packets, parsePacket(names[link.Ifindex], buf[:n]))
			c.mu.Unlock()
		}
	}
}

// take ends the capture and returns all of it.
func (c *capture) take(t *testing.T) []packet {
	t.Helper()
	close(c.end)
	c.done.Wait()
	defer unix.Close(c.fd)
	stats, err := unix.GetsockoptTpacketStats(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		t.Fatal(err)
	}
	if stats.Drops > 0 {
		t.Fatalf("the capture has missed %d of %d packets", stats.Drops, stats.Packets)
	}
	return c.packets
}

// parsePacket parses the headers of IP and of what is in it.
func parsePacket(device string, b []byte) packet {
	p := packet{device: device}
	var from, to netip.Addr
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		p.protocol = int(b[9])
		from, to = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		b = b[min(int(b[0]&15)*4, len(b)):]
	case len(b) >= 40 && b[0]>>4 == 6:
		p.protocol = int(b[6])
		from, to = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		b = b[40:]
		if p.protocol == unix.IPPROTO_HOPOPTS && len(b) >= 8 {
			p.protocol = int(b[0])
		}
	default:
		return p
	}
	p.from, p.to = netip.AddrPortFrom(from, 0), netip.AddrPortFrom(to, 0)
	if (p.protocol == unix.IPPROTO_TCP || p.protocol == unix.IPPROTO_UDP) && len(b) >= 4 {
		p.from = netip.AddrPortFrom(from, binary.BigEndian.Uint16(b))
		p.to = netip.AddrPortFrom(to, binary.BigEndian.Uint16(b[2:]))
	}
	if p.protocol == unix.IPPROTO_ICMP && len(b) > 0 {
		p.icmp = b[0]
	}
	return p
}
