package kernel

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/wireguard"
	"github.com/wimble-proxy/wimble/wireguard/engine"
)

// Bytes of ten pings of 84 bytes in a new session, as the kernel's own tests
// have them: the initiation of 148 or the response of 92, and ten messages of
// 128 = 84 filled up to 96, with 32 for header and tag. The first ping waits
// for the handshake and confirms it, so that no keepalive does.
const (
	pings      = 10
	pingSize   = 84
	fromCaller = 148 + pings*128
	toCaller   = 92 + pings*128
	keepalive  = 32
)

// testTenPings: both ends count ten pings as they should. Ten seconds later
// the caller sends the keepalive that it owes for the replies.
func testTenPings(t *testing.T, l *lab) {
	for _, caller := range []caller{ours, kernels} {
		t.Run(fmt.Sprintf("call is %s", caller), func(t *testing.T) {
			t.Parallel()
			var tn *tunnel
			if caller == ours {
				tn = l.withoutStack(t)
			} else {
				tn = l.tunnel(t, options{caller: kernels})
				tn.pinged(t, tn.near[0], pings)
			}
			counts := func() (sent, received uint64) {
				d := tn.agree(t)
				if caller == ours {
					return d.Received, d.Sent
				}
				return d.Sent, d.Received
			}
			sent, received := counts()
			// On a very busy host the keepalive is out already.
			if sent != fromCaller && sent != fromCaller+keepalive || received != toCaller {
				t.Errorf("the caller sent %d and received %d bytes, want %d and %d", sent, received, fromCaller, toCaller)
			}
			t.Logf("the caller sent %d and received %d bytes", sent, received)
			eventually(t, func() (uint64, error) {
				if sent, received = counts(); sent != fromCaller+keepalive || received != toCaller {
					return sent, fmt.Errorf("with a keepalive the caller sent %d and received %d bytes, want %d and %d", sent, received, fromCaller+keepalive, toCaller)
				}
				return sent, nil
			})
			t.Logf("and with the keepalive: %+v", tn.dump(t))
		})
	}
}

// withoutStack makes a tunnel with a Device of ours that sends ten pings of
// its own making: the stack's would be shorter.
func (l *lab) withoutStack(t *testing.T) *tunnel {
	t.Helper()
	tn, own, theirs := l.ends(t, options{})
	tn.peer = l.machine.Peer(t, theirs)
	replies := make(chan struct{}, 2*pings)
	tn.device = runDevice(t, own, tn.peer.Endpoint(), func(packets [][]byte) {
		for range packets {
			replies <- struct{}{}
		}
	})
	route, err := tn.device.Route(tn.far[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range pings {
		// A Device that does not run yet drops what it gets, and says so.
		for dropped := uint64(1); dropped > 0; {
			before := tn.device.Drops()["removed"]
			batch := tn.device.NewBatch(route, pingSize)
			putEcho(batch.Add(pingSize), tn.near[0], tn.far[0], uint16(i))
			tn.device.Send(batch)
			dropped = tn.device.Drops()["removed"] - before
		}
		select {
		case <-replies:
		case <-time.After(patience):
			t.Fatalf("no reply to ping %d", i)
		}
	}
	return tn
}

// runDevice runs a Device until the test is over.
func runDevice(t *testing.T, c config.Tunnel, kernel netip.AddrPort, deliver func([][]byte)) *wireguard.Device {
	t.Helper()
	d, err := wireguard.New(wireguard.Config{
		PrivateKey: c.PrivateKey, Deliver: deliver, ListenPacket: loopback,
		Peers: []wireguard.PeerChange{{PeerChange: engine.PeerChange{
			PublicKey: c.Peers[0].PublicKey, Endpoint: &kernel, AllowedIPs: c.Peers[0].AllowedIPs,
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return d
}

// putEcho makes an ICMP echo request of a whole IPv4 packet (RFC 791, section
// 3.1; RFC 792).
func putEcho(packet []byte, from, to netip.Addr, sequence uint16) {
	const header, timeToLive, protocol, echo = 20, 64, 1, 8
	clear(packet)
	packet[0] = 0x45
	binary.BigEndian.PutUint16(packet[2:], uint16(len(packet)))
	packet[8], packet[9] = timeToLive, protocol
	copy(packet[12:], from.AsSlice())
	copy(packet[16:], to.AsSlice())
	binary.BigEndian.PutUint16(packet[10:], checksum(packet[:header]))
	packet[header] = echo
	binary.BigEndian.PutUint16(packet[header+6:], sequence)
	binary.BigEndian.PutUint16(packet[header+2:], checksum(packet[header:]))
}

// checksum is the Internet's (RFC 1071) of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 0; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
