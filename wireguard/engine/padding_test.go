package engine

import (
	"bytes"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard/message"
)

// TestPadding: a multiple of 16, never beyond the MTU.
func TestPadding(t *testing.T) {
	for _, row := range []struct {
		n, mtu, want int
		reason       string
	}{
		{0, 1420, 0, "a keepalive"},
		{0, 0, 0, "a keepalive, no MTU"},
		{1, 1420, 16, "the least packet"},
		{16, 1420, 16, "a multiple"},
		{84, 1420, 96, "a ping"},
		{1297, 1299, 1299, "not 1312: the MTU bounds it"},
		{1299, 1299, 1299, "the MTU itself"},
		{1280, 1280, 1280, "the MTU itself, a multiple"},
		{1419, 1420, 1420, "1420 is no multiple"},
		{1420, 1420, 1420, "the MTU itself"},
		{1420, 0, 1424, "no MTU"},
		{65535, 0, 65536, "the largest packet"},
		{1430, 1420, 1436, "beyond the MTU: its last part, of 10, is padded"},
		{2840, 1420, 2840, "twice the MTU: nothing is left to pad"},
		{4000, 1299, 4000 - 103 + 112, "beyond the MTU: its last part, of 103"},
		{5, 7, 7, "an MTU below one multiple"},
	} {
		if got := padded(row.n, row.mtu); got != row.want {
			t.Errorf("%d bytes at an MTU of %d are padded to %d, want %d: %s", row.n, row.mtu, got, row.want, row.reason)
		}
		if got := SealedSize(row.n, row.mtu); got != row.want+32 {
			t.Errorf("%d bytes at an MTU of %d are sealed to %d, want %d", row.n, row.mtu, got, row.want+32)
		}
	}
}

// TestPaddingIsZero: what travels is the packet and zeros, and what arrives is
// the packet alone.
func TestPaddingIsZero(t *testing.T) {
	for _, mtu := range []int{0, 1299, 1420} {
		for _, n := range []int{28, 84, 1280, 1297, 1299} {
			l := newLab(t, 1)
			a, b := l.add(Config{MTU: mtu}), l.add(Config{MTU: mtu})
			a.knows(b)
			b.knows(a)
			l.hold()
			packet := packet4(a.ip4(), b.ip4(), n, l.watch.id())
			a.sendPacket(packet) // is staged
			l.pass(a, "initiation")
			l.pass(b, "response")
			staged := l.take(a, "data").msg
			packet2 := packet4(a.ip4(), b.ip4(), n, l.watch.id())
			a.sendPacket(packet2) // is sealed in place
			direct := l.take(a, "data").msg
			for i, msg := range [][]byte{staged, direct} {
				if len(msg) != SealedSize(n, mtu) {
					t.Errorf("MTU %d: %d bytes travel as %d, want %d", mtu, n, len(msg), SealedSize(n, mtu))
				}
				opened, why := b.engine.Find(message.DataReceiver(msg)).Open(0, clone(msg))
				if why != DropNone || !bytes.Equal(opened.Packet[:n], [][]byte{packet, packet2}[i]) {
					t.Fatalf("MTU %d, %d bytes: not what was sent: %v", mtu, n, why)
				}
				if len(bytes.Trim(opened.Packet[n:], "\x00")) > 0 {
					t.Errorf("padding %x", opened.Packet[n:])
				}
				if got := b.engine.Police(b.peer(a), opened.Packet); len(got) != n {
					t.Errorf("%d bytes arrived, want %d", len(got), n)
				}
			}
		}
	}
}
