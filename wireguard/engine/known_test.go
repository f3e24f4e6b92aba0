package engine

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"io"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// The transcript that an independent generator and wireguard-go agree on:
// static keys 00..1f and 20..3f, ephemeral keys 40..5f and 60..7f, preshared
// key 80..9f, receiver indices 0x01020304 and 0x0a0b0c0d.
const (
	knownInitiation = "010000000403020179a631eede1bf9c98f12032cdeadd0e7a079398fc786b88cc846ec89af85a51a" +
		"f0225eb421886af8f54fb31289d49dcd82b0f6f3279d40d7cff913fece0c64ad226eef3320755b393b72f16842c8d7ee" +
		"78a74e937e3f2a82b4f4ecc1fb90a0c7c361dcf1e80536f80db443ce9e5a5765c61ee21d85d0d4110251b2f000000000000000000000000000000000"
	knownResponse = "020000000d0c0b0a04030201675dd574ed7789310b3d2e7681f3790b466c773b1521fecf36577958371ea52f" +
		"2150e20bb1e884b19731c6233b368d3c5f77ccd805ebe90fbf1d88daafad9ad100000000000000000000000000000000"
	knownKeepalive = "040000000d0c0b0a0000000000000000c05b5687dc9e973b4033587e96b81434"
	knownPacket    = "4500001c00010000401100000a0000010a0000020007000700080000"
	knownData      = "040000000d0c0b0a0100000000000000fa308345c1bf96eff3000fad31dfbb553246155fa5afd13d440e3606f9164ff284c32dcd937f62635489b6d6925f1553"
)

// TestKnownAnswers runs the transcript through two whole engines: what leaves
// them is known to the byte.
func TestKnownAnswers(t *testing.T) {
	counting := func(from byte) (k [32]byte) {
		for i := range k {
			k[i] = from + byte(i)
		}
		return k
	}
	draws := func(ephemeral byte, index uint32) io.Reader {
		e := counting(ephemeral)
		return io.MultiReader(bytes.NewReader(e[:]), bytes.NewReader(binary.LittleEndian.AppendUint32(nil, index)),
			bytes.NewReader(make([]byte, 64))) // jitters
	}
	l := newLab(t, 1)
	a, b := l.add(Config{Rand: draws(0x40, 0x01020304)}), l.add(Config{Rand: draws(0x60, 0x0a0b0c0d)})
	keyA, keyB := key.PrivateFrom(counting(0)), key.PrivateFrom(counting(0x20))
	a.apply(Change{PrivateKey: &keyA})
	b.apply(Change{PrivateKey: &keyB})
	psk := key.PresharedFrom(counting(0x80))
	a.knows(b, func(c *PeerChange) { c.PresharedKey = &psk })
	b.knows(a, func(c *PeerChange) { c.PresharedKey = &psk })
	a.skew = time.Unix(0x6553f10a-10, 0x3b000000).Sub(epoch)

	a.greet(b)
	l.run(0)
	a.sendPacket(unhex(t, knownPacket))

	for _, step := range []struct {
		name string
		got  []byte
		want string
	}{
		{"initiation", a.sent[0].msg, knownInitiation},
		{"response", b.sent[0].msg, knownResponse},
		{"keepalive", a.sent[1].msg, knownKeepalive},
		{"data", a.sent[2].msg, knownData},
	} {
		if got := hex.EncodeToString(step.got); got != step.want {
			t.Errorf("%s:\n got %s\nwant %s", step.name, got, step.want)
		}
	}
	if stamp := handshake.TimestampAt(a.time().Wall); hex.EncodeToString(stamp[:]) != "400000006553f10a3b000000" {
		t.Errorf("timestamp %x", stamp)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
