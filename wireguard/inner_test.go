package wireguard

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// packet6 makes an IPv6 packet that states a payload of length bytes and has
// one of n.
func packet6(from, to netip.Addr, length, n int) []byte {
	b := make([]byte, 40+n)
	b[0] = 0x60
	binary.BigEndian.PutUint16(b[4:], uint16(length))
	src, dst := from.As16(), to.As16()
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
	return b
}

// receivedBytes counts those of the first peer, whatever it had in them.
func receivedBytes(a *side) uint64 { return a.Snapshot().Peers[0].Received }

// TestW9InnerSource: a packet is delivered only if its source belongs, by the
// longest prefix of all peers, to the peer that sent it.
func TestW9InnerSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner6 := netip.MustParseAddr("fd00::2")
		a, p := script(t, func(c *Config) {
			// The peer has a whole network, but for what others have inside it.
			c.Peers[0].AllowedIPs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/64")}
			other := ephemeralKey(t).Public()
			c.Peers = append(c.Peers, PeerChange{PeerChange: engine.PeerChange{
				PublicKey: other, AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.3/32"), netip.MustParsePrefix("fd00::3/128")},
			}})
		})
		p.connect()
		for _, test := range []struct {
			source    string
			delivered bool
		}{
			{"10.0.0.2", true},
			{"10.200.0.1", true},
			{"10.0.0.3", false}, // another peer's, by a longer prefix
			{"11.0.0.2", false},
			{"192.0.2.1", false}, // our own outer address
			{"127.0.0.1", false},
			{"0.0.0.0", false},
			{"224.0.0.1", false},
			{"255.255.255.255", false},
			{"fd00::2", true},
			{"fd00::3", false},
			{"fd00:0:0:1::2", false},
			{"::ffff:10.0.0.2", false}, // IPv6, whatever it looks like
			{"::10.0.0.2", false},
			{"::", false},
			{"::1", false},
			{"fe80::1", false},
			{"ff02::1", false},
		} {
			source := netip.MustParseAddr(test.source)
			plain := packet6(source, inner6, 44, 44)
			if source.Is4() {
				plain = packet(source, a.inner, 84)
			}
			delivered, policed := a.received(), a.Drops()["police"]
			p.say(p.data(plain))
			if got := a.received() > delivered; got != test.delivered {
				t.Errorf("from %s: delivered %t, want %t", test.source, got, test.delivered)
			}
			if got := a.Drops()["police"] > policed; got == test.delivered {
				t.Errorf("from %s: counted as policed %t", test.source, got)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		// Our own tunnel address is nobody's.
		a, p := script(t, nil)
		p.connect()
		before := receivedBytes(a)
		p.say(p.data(packet(a.inner, a.inner, 84)))
		wantDrops(t, a.Device, map[string]uint64{"police": 1})
		if got := receivedBytes(a); got != before {
			t.Errorf("%d bytes counted for a packet that was refused", got-before)
		}
	})
}

// TestW10InnerJunk: what is no whole IP packet is dropped, and what follows
// one is cut off. Lengths that wrap in 16 bits are among it.
func TestW10InnerJunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner6 := netip.MustParseAddr("fd00::2")
		a, p := script(t, func(c *Config) {
			c.Peers[0].AllowedIPs = append(c.Peers[0].AllowedIPs, netip.PrefixFrom(inner6, 128))
		})
		p.connect()
		valid4 := packet(p.inner, a.inner, 84)
		valid6 := packet6(inner6, inner6, 44, 44)
		refuse := func(name string, plain []byte) {
			t.Helper()
			delivered, malformed := a.received(), a.Drops()["malformed"]
			p.say(p.data(plain))
			if a.received() != delivered || a.Drops()["malformed"] != malformed+1 {
				t.Errorf("%s: %d delivered, dropped %v, want it malformed", name, a.received()-delivered, a.Drops())
			}
		}
		take := func(name string, plain, want []byte) {
			t.Helper()
			delivered := a.received()
			p.say(p.data(plain))
			if a.received() != delivered+1 || !bytes.Equal(a.got[delivered], want) {
				t.Errorf("%s: not delivered as it was", name)
			}
		}
		for version := range byte(16) {
			if version != 4 && version != 6 {
				b := bytes.Clone(valid4)
				b[0] = version<<4 | 5
				refuse("an unknown IP version", b)
			}
		}
		for n := 1; n < 20; n++ {
			refuse("less than an IPv4 header", valid4[:n])
		}
		for n := 1; n < 40; n++ {
			refuse("less than an IPv6 header", valid6[:n])
		}
		for _, length := range []int{0, 19, 85, 65535} {
			b := bytes.Clone(valid4)
			binary.BigEndian.PutUint16(b[2:], uint16(length))
			refuse("a wrong IPv4 length", b)
		}
		for _, length := range []int{45, 65495, 65496, 65500, 65535} {
			refuse("a wrong IPv6 length", packet6(inner6, inner6, length, 44))
		}
		header := packet(p.inner, a.inner, 20)
		take("nothing but an IPv4 header", header, header)
		header = packet6(inner6, inner6, 0, 0)
		take("nothing but an IPv6 header", header, header)
		take("no padding", valid4, valid4)
		take("zero padding", append(bytes.Clone(valid4), make([]byte, 12)...), valid4)
		take("padding that is not zero", append(bytes.Clone(valid4), 1, 2, 3), valid4)
		take("a kilobyte of padding", append(bytes.Clone(valid6), make([]byte, 1000)...), valid6)
		short := packet6(inner6, inner6, 4, 44)
		take("a shorter IPv6 length", short, short[:44])

		delivered, bytesBefore := a.received(), receivedBytes(a)
		p.say(p.data(nil))
		if a.received() != delivered || receivedBytes(a) != bytesBefore+32 {
			t.Error("a keepalive is counted and not delivered")
		}
	})
}

// TestW26StagedPackets: a million packets for a peer that does not answer
// leave the newest 128 and no more memory than these.
func TestW26StagedPackets(t *testing.T) {
	const packets, kept, size = 1_000_000, 128, 1000
	synctest.Test(t, func(t *testing.T) {
		a, p := script(t, nil)
		r, err := a.Route(p.inner)
		if err != nil {
			t.Fatal(err)
		}
		pattern := packet(a.inner, p.inner, size)
		heap := liveHeap()
		for sent := 0; sent < packets; {
			b := a.NewBatch(r, size)
			for range min(maxBatchPackets, packets-sent) {
				slot := b.Add(size)
				copy(slot, pattern[:20])
				sent++
				binary.BigEndian.PutUint32(slot[20:], uint32(sent))
			}
			a.Send(b)
		}
		grown := int64(liveHeap()) - int64(heap)
		t.Logf("heap grew by %d KiB for %d packets", grown>>10, packets)
		if grown > kept*size+1<<20 {
			t.Errorf("heap grew by %d bytes, want about %d packets' worth", grown, kept)
		}
		wantDrops(t, a.Device, map[string]uint64{"staged": packets - kept})
		p.accept()
		for i := range kept {
			plain := p.open(p.want(message.TypeData, "the staged packets leave with the session"))
			if got := binary.BigEndian.Uint32(plain[20:]); got != uint32(packets-kept+1+i) {
				t.Fatalf("packet %d came at place %d, want the newest in order", got, i)
			}
		}
		p.silence("they were all")
	})
}

// liveHeap is the heap after two collections, which empty the pools.
func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
