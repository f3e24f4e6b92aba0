package interop

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// TestDifferences shows where our engine and wireguard-go handle messages
// differently, on purpose. FuzzDifferential keeps away from these, and would
// find any other. What takes seconds or load is shown elsewhere, if at all:
//
//   - An initiation of ours that a newer one replaced can still be answered for
//     a Rekey-Timeout; wireguard-go forgets it.
//   - Of six initiations at once under load we let in five, wireguard-go four,
//     and we count the addresses of an IPv6 /64 as one source.
//   - Initiations that are exactly 20 ms apart are a flood to wireguard-go.
//   - A cookie is used for 115 s, by wireguard-go for 120.
//   - An empty datagram costs wireguard-go's socket those that are read along
//     with it.
func TestDifferences(t *testing.T) {
	t.Parallel()
	for _, difference := range []struct {
		name string
		show func(t *testing.T)
	}{
		{"a payload length near 65,535", longIPv6},
		{"bytes of packets that are not let through", policedBytes},
		{"a second cookie for one message", secondCookie},
		{"initiations that cross", crossing},
	} {
		t.Run(difference.name, difference.show)
	}
}

// longIPv6: wireguard-go adds the header's 40 bytes to the payload's length in
// 16 bits, and hands on what is no packet.
func longIPv6(t *testing.T) {
	tr := newTrial(t)
	tr.meet(t, false)
	tr.step(t, step{kind: sayInitiation, a: 1})
	packet := ipv6Packet(peerOwns6, 84)
	binary.BigEndian.PutUint16(packet[4:], 0xffff-40+5) // 4 in 16 bits
	tr.tell(peerAt, func(s *speaker) []byte { return s.data(0, 0, packet) })
	ours := tr.subjects[0].settle(t, effects{})
	theirs := tr.subjects[1].settle(t, ours)
	if len(ours.delivered) != 0 {
		t.Errorf("we delivered %x", ours.delivered)
	}
	if len(theirs.delivered) != 1 || len(theirs.delivered[0]) != 4 {
		t.Errorf("wireguard-go delivered %x: it has changed, and this difference can go", theirs.delivered)
	}
}

// policedBytes: as the kernel, we don't count what AllowedIPs refuse as
// received from the peer.
func policedBytes(t *testing.T) {
	tr := newTrial(t)
	tr.meet(t, false)
	tr.step(t, step{kind: sayInitiation, a: 1})
	tr.step(t, step{kind: sayData, a: plainIPv4Foreign, b: 64})
	ours := onePeer(tr.ours.engine.Snapshot(), tr.ours.public).Received
	theirs := tr.subjects[1].settle(t, effects{}).peer.Received
	if ours != message.InitiationSize || theirs != message.InitiationSize+message.DataMinSize+84 {
		t.Errorf("we count %d bytes, wireguard-go %d", ours, theirs)
	}
}

// secondCookie: we take the first cookie for a message only; whoever reads
// along may not replace it.
func secondCookie(t *testing.T) {
	tr := newTrial(t)
	tr.meet(t, false)
	tr.step(t, step{kind: hearSomething})
	var cookies [2][2]handshake.Cookies // the first and the second of each speaker's
	for n := range 2 {
		for i, s := range tr.speakers {
			s.cookies = handshake.Cookies{}
			tr.subjects[i].receive(peerAt, s.cookieReply(peerAt))
			cookies[i][n] = s.cookies
		}
	}
	tr.step(t, step{kind: sayInitiation, a: 1})
	for i, of := range []string{"ours", "wireguard-go"} { // ours the first, wireguard-go the second
		for n := range cookies[i] {
			if used := cookies[i][n].CheckMAC2(0, peerAt, tr.speakers[i].signed); used != (n == i) {
				t.Errorf("cookie %d is in the next message of %s: %t", n+1, of, used)
			}
		}
	}
}

// crossing: of two initiations that cross, the one from the smaller key can be
// answered. To wireguard-go both are void.
func crossing(t *testing.T) {
	tr := newTrialOf(t, keyWhere(t, func(k [32]byte) bool { return k[0] == 0 }))
	tr.meet(t, false)
	tr.step(t, step{kind: hearSomething})
	tr.step(t, step{kind: sayInitiation, a: 1})
	tr.tell(netip.AddrPortFrom(peerAt.Addr(), 1), (*speaker).response)
	ours := tr.subjects[0].settle(t, effects{})
	theirs := tr.subjects[1].settle(t, effects{})
	if ours.peer.Received != theirs.peer.Received+message.ResponseSize {
		t.Errorf("we received %d bytes and wireguard-go %d, want a response more", ours.peer.Received, theirs.peer.Received)
	}
}
