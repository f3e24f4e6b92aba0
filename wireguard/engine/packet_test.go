package engine

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard/message"
)

// inner makes a plaintext of size bytes whose header begins with these bytes
// in hex. Its source is 10.0.0.1 or fd00::1.
func inner(t testing.TB, header string, size int) []byte {
	p := make([]byte, size)
	copy(p, unhex(t, header))
	switch {
	case size >= 20 && p[0]>>4 == 4:
		copy(p[12:], []byte{10, 0, 0, 1})
	case size >= 24 && p[0]>>4 == 6:
		p[8], p[23] = 0xfd, 1
	}
	return p
}

// TestInnerLengths: a plaintext is cut to the length that its header states,
// and refused if that is more than there is, or less than a header.
func TestInnerLengths(t *testing.T) {
	for _, row := range []struct {
		header string // version and length
		size   int    // of the plaintext
		want   int    // of the packet, -1 is refused
		reason string
	}{
		{"45000014", 20, 20, "the least IPv4 packet"},
		{"45000014", 32, 20, "padding is cut"},
		{"45000014", 31, 20, "a size that is no multiple of 16, as BoringTun sends"},
		{"45000020", 32, 32, "no padding"},
		{"45000021", 32, -1, "one byte is missing"},
		{"4500ffff", 1440, -1, "nearly all is missing"},
		{"4500ffff", 65536, 65535, "the largest IPv4 packet"},
		{"45000013", 32, -1, "less than a header"},
		{"45000000", 32, -1, "a length of zero"},
		{"45000014", 19, -1, "not even a header"},
		{"4f000014", 20, 20, "options beyond the end: the stack's to refuse, as in the kernel"},
		{"600000000000", 40, 40, "the least IPv6 packet"},
		{"600000000000", 48, 40, "padding is cut"},
		{"600000000008", 48, 48, "no padding"},
		{"600000000009", 48, -1, "one byte is missing"},
		{"600000000000", 39, -1, "not even a header"},
		{"600000000000", 32, -1, "an IPv4 header's worth is not enough"},
		{"60000000ffff", 65600, 65575, "the largest IPv6 packet"},
		{"60000000ffff", 1440, -1, "65535 + 40 is 39 in 16 bits"},
		{"60000000ffdc", 1440, -1, "65500 + 40 is 4 in 16 bits"},
		{"60000000ffd8", 1440, -1, "65496 + 40 is 0 in 16 bits"},
		{"", 0, -1, "nothing"},
		{"45", 1, -1, "one byte"},
		{"60", 1, -1, "one byte"},
	} {
		packet, _, ok := trim(inner(t, row.header, row.size))
		if got := len(packet); ok != (row.want >= 0) || ok && got != row.want {
			t.Errorf("header %s in %d bytes: %d bytes, %t, want %d: %s", row.header, row.size, got, ok, row.want, row.reason)
		}
	}
	for version := range 16 {
		p := inner(t, "", 64)
		p[0] = byte(version) << 4
		p[3] = 64
		_, _, ok := trim(p)
		if ok != (version == 4 || version == 6) {
			t.Errorf("version %d accepted: %t", version, ok)
		}
	}
}

// TestPolice: the source of a packet must be, by the longest prefix of all
// peers, of the peer that sent it.
func TestPolice(t *testing.T) {
	r := newRoster(t)
	r.give("a", "10.0.0.0/8", "fd00::/16", "0.0.0.0/0")
	r.give("b", "10.1.0.0/16", "fd00:1::/32", "::ffff:0:0/96")
	a, b := r.engine.Peer(named("a")), r.engine.Peer(named("b"))
	for _, row := range []struct {
		from   *Peer
		source string
		want   bool
		reason string
	}{
		{a, "10.0.0.1", true, "its own"},
		{a, "10.1.0.1", false, "the more specific peer's, although a covers it"},
		{b, "10.1.0.1", true, "its own"},
		{b, "10.0.0.1", false, "a's"},
		{a, "127.0.0.1", true, "a has all of IPv4"},
		{b, "127.0.0.1", false, "a has all of IPv4"},
		{a, "fd00::1", true, "its own"},
		{a, "fd00:1::1", false, "the more specific peer's"},
		{b, "fd00:1::1", true, "its own"},
		{a, "::1", false, "nobody's"},
		{a, "ff02::1", false, "nobody's: multicast is no exception"},
		{b, "::ffff:10.0.0.1", true, "an IPv6 packet, by its IPv6 prefix"},
		{a, "::ffff:10.0.0.1", false, "IPv4 prefixes say nothing about it"},
	} {
		source := netip.MustParseAddr(row.source)
		packet := packet6(source, source, 64, 0)
		if source.Is4() {
			packet = packet4(source, source, 64, 0)
		}
		drops, received := r.engine.Drops()[DropPolice], row.from.received.Load()
		got := r.engine.Police(row.from, append(packet, 0, 0, 0))
		if (got != nil) != row.want || row.want && !bytes.Equal(got, packet) {
			t.Errorf("%s of %v: %t, want %t: %s", row.source, row.from.Public(), got != nil, row.want, row.reason)
		}
		if counted := r.engine.Drops()[DropPolice] - drops; counted != 1 == !row.want {
			t.Errorf("%s: %d drops", row.source, counted)
		}
		want := received
		if row.want {
			want += message.DataMinSize + 67
		}
		if row.from.received.Load() != want {
			t.Errorf("%s: received %d bytes, want %d", row.source, row.from.received.Load(), want)
		}
	}
}

// TestPoliceMalformed: what is no whole IP packet is counted as that, and not
// as received.
func TestPoliceMalformed(t *testing.T) {
	r := newRoster(t)
	r.give("a", "0.0.0.0/0", "::/0")
	a := r.engine.Peer(named("a"))
	for i, header := range []string{"45000021", "60000000ffff", "00", "f0000000"} {
		if r.engine.Police(a, inner(t, header, 32)) != nil {
			t.Errorf("%s was let in", header)
		}
		if got := r.engine.Drops()[DropMalformed]; got != uint64(i+1) {
			t.Errorf("%s: %d drops, want %d", header, got, i+1)
		}
	}
	if a.received.Load() != 0 {
		t.Error("junk counts as received")
	}
}

// FuzzTrim holds trim to a model that is written from the RFCs' tables of
// header fields, in bits.
func FuzzTrim(f *testing.F) {
	f.Add(packet4(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), 28, 1))
	f.Add(packet6(netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2"), 48, 1))
	f.Fuzz(func(t *testing.T, plain []byte) {
		before := bytes.Clone(plain)
		packet, source, ok := trim(plain)
		size, from, valid := modelTrim(plain)
		if ok != valid {
			t.Fatalf("%s: accepted %t, want %t", hex.EncodeToString(plain), ok, valid)
		}
		if !bytes.Equal(plain, before) {
			t.Fatal("the plaintext was changed")
		}
		if !ok {
			return
		}
		if len(packet) != size || &packet[0] != &plain[0] {
			t.Fatalf("%s: %d bytes, want the first %d", hex.EncodeToString(plain), len(packet), size)
		}
		if source != from {
			t.Fatalf("%s: source %v, want %v", hex.EncodeToString(plain), source, from)
		}
	})
}

// modelTrim reads the fields by their bit offsets.
func modelTrim(p []byte) (size int, source netip.Addr, ok bool) {
	field := func(bit, bits int) (v uint64) {
		for i := range bits {
			at := bit + i
			v = v<<1 | uint64(p[at/8]>>(7-at%8)&1)
		}
		return v
	}
	if len(p) == 0 {
		return 0, source, false
	}
	switch field(0, 4) {
	case 4: // RFC 791, section 3.1
		if len(p) < 20 {
			return 0, source, false
		}
		size = int(field(16, 16))
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], uint32(field(96, 32)))
		source = netip.AddrFrom4(a)
		ok = size >= 20
	case 6: // RFC 8200, section 3
		if len(p) < 40 {
			return 0, source, false
		}
		size = 40 + int(field(32, 16))
		var a [16]byte
		binary.BigEndian.PutUint64(a[:], field(64, 64))
		binary.BigEndian.PutUint64(a[8:], field(128, 64))
		source = netip.AddrFrom16(a)
		ok = true
	}
	return size, source, ok && size <= len(p)
}
