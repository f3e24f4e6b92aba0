package wireguard

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// elsewhere is an address that no peer has.
var elsewhere = netip.MustParseAddrPort("203.0.113.9:4000")

// wantDrops compares everything that d dropped so far.
func wantDrops(t *testing.T, d *Device, want map[string]uint64) {
	t.Helper()
	if got := d.Drops(); !maps.Equal(got, want) {
		t.Errorf("dropped %v, want %v", got, want)
	}
}

// flips returns a copy of msg for each bit of its bytes from first to end, with
// that bit changed.
func flips(msg []byte, first, end int) (all [][]byte) {
	for bit := first * 8; bit < end*8; bit++ {
		b := bytes.Clone(msg)
		b[bit/8] ^= 1 << (bit % 8)
		all = append(all, b)
	}
	return all
}

// TestW1BitFlips changes every bit of each message, one at a time. Nothing is
// accepted, and what was left alone still is. The reasons show the cost: none
// of those that end a Diffie-Hellman computation is among them, but for the
// bits of mac2, which means nothing without load.
func TestW1BitFlips(t *testing.T) {
	const typeBits, indexBits, mac2Bits = 32, 32, 128
	t.Run("initiation", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, p := script(t, nil)
			msg := p.initiation()
			const mac2 = message.InitiationSize - message.MACSize
			p.say(flips(msg, 0, mac2)...)
			p.silence("a changed initiation")
			want := map[string]uint64{"classify": typeBits, "mac1": mac2*8 - typeBits}
			wantDrops(t, a.Device, want)
			p.say(msg)
			p.finish(p.want(message.TypeResponse, "the initiation as it was made"))
			p.say(flips(msg, mac2, len(msg))...)
			p.silence("one accepted before but for mac2")
			want["replay"] = mac2Bits
			wantDrops(t, a.Device, want)
		})
	})
	t.Run("response", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, p := script(t, nil)
			a.sendTo(t, p, 1, 84)
			msg := p.answer(p.want(message.TypeInitiation, "there is something to send"))
			const mac2 = message.ResponseSize - message.MACSize
			p.say(flips(msg, 0, mac2)...)
			p.silence("a changed response")
			want := map[string]uint64{"classify": typeBits, "mac1": mac2*8 - typeBits}
			wantDrops(t, a.Device, want)
			p.say(msg)
			p.open(p.want(message.TypeData, "the response as it was made"))
			p.say(flips(msg, mac2, len(msg))...)
			want["state"] = mac2Bits
			wantDrops(t, a.Device, want)
		})
	})
	t.Run("cookie reply", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, p := script(t, nil)
			a.sendTo(t, p, 1, 84)
			var cookies handshake.Cookies
			msg := p.cookieReply(&cookies, p.at, p.want(message.TypeInitiation, "there is something to send"))
			p.say(flips(msg, 0, len(msg))...)
			want := map[string]uint64{
				"classify": typeBits, "state": indexBits, "invalid": message.CookieReplySize*8 - typeBits - indexBits,
			}
			wantDrops(t, a.Device, want)
			p.say(msg)
			wantDrops(t, a.Device, want)
			time.Sleep(6 * time.Second)
			next := p.want(message.TypeInitiation, "a retransmission")
			if !cookies.CheckMAC2(p.clock().Boot, p.at, next) {
				t.Error("the cookie reply as it was made was not accepted")
			}
		})
	})
	t.Run("data", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, p := script(t, nil)
			p.connect()
			msg := p.data(packet(p.inner, a.inner, 96))
			p.sayFrom(elsewhere, flips(msg, 0, len(msg))...)
			wantDrops(t, a.Device, map[string]uint64{
				"classify": typeBits, "find": indexBits, "open": uint64(len(msg)*8 - typeBits - indexBits),
			})
			if to := a.endpointOf(p); to != p.at {
				t.Errorf("changed data moved the endpoint to %v", to)
			}
			p.say(msg)
			if a.received() != 1 {
				t.Errorf("%d packets delivered, want the one as it was made", a.received())
			}
		})
	})
}

// TestW2Lengths sends every type in lengths that it can't have, unknown types
// and reserved bytes that are not zero.
func TestW2Lengths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const seed = 2
		random := rand.NewChaCha8([32]byte{seed})
		a, p := script(t, nil)
		p.connect()
		want := map[string]uint64{}
		for _, head := range [][4]byte{
			{0}, {1}, {2}, {3}, {4}, {5}, {255}, {0, 0, 0, 1}, {1, 1}, {2, 0, 1}, {3, 0, 0, 128}, {4, 0, 0, 4}, {4, 255, 255, 255},
		} {
			for size := range 202 {
				if size == 201 {
					size = maxBatchBytes
				}
				b := make([]byte, size)
				_, _ = random.Read(b)
				copy(b, head[:])
				p.say(b)
				switch {
				case size == 0: // an empty datagram has nothing to be classified
				case head == [4]byte{1} && size == message.InitiationSize, head == [4]byte{2} && size == message.ResponseSize:
					want["mac1"]++
				case head == [4]byte{3} && size == message.CookieReplySize:
					want["state"]++
				case head == [4]byte{4} && size >= message.DataMinSize:
					want["find"]++
				default:
					want["classify"]++
				}
			}
		}
		p.silence("junk")
		wantDrops(t, a.Device, want)
		p.say(p.data(packet(p.inner, a.inner, 84)))
		if a.received() != 1 {
			t.Errorf("after all that %d packets were delivered, want 1; seed %d", a.received(), seed)
		}
	})
}

// TestW3Replay sends counters at the edges of the window, and a shuffled
// stream with every packet three times. Each packet is delivered once, and
// what is older than the window not at all.
func TestW3Replay(t *testing.T) {
	const n = 10000
	synctest.Test(t, func(t *testing.T) {
		a, p := script(t, nil)
		p.connect()
		for _, step := range []struct {
			counter   uint64
			delivered bool
		}{
			{n, true},
			{n, false},
			{n - 8127, true},
			{n - 8127, false},
			{n - 8128, true},
			{n - 8128, false},
			{n - 8129, false}, // older than the window
			{n + 1, true},
			{n + 1, false},
			{1 << 60, true},
			{1 << 60, false},
			{n + 2, false},
			{1<<64 - 1<<13 - 2, true}, // the last that is allowed
			{1<<64 - 1<<13 - 2, false},
			{1<<64 - 1<<13 - 1, false}, // Reject-After-Messages
			{1<<64 - 1, false},
		} {
			before := a.received()
			p.say(p.dataAt(step.counter, packet(p.inner, a.inner, 84)))
			if delivered := a.received() > before; delivered != step.delivered {
				t.Errorf("counter %d: delivered %t, want %t", step.counter, delivered, step.delivered)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		const seed, unique = 3, 300
		a, p := script(t, nil)
		p.connect()
		var msgs [][]byte
		for i := range unique {
			msg := p.data(packet(p.inner, a.inner, 84+i))
			msgs = append(msgs, msg, msg, msg)
		}
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(msgs), func(i, j int) { msgs[i], msgs[j] = msgs[j], msgs[i] })
		p.say(msgs...)
		sizes := map[int]bool{}
		for _, got := range a.got {
			sizes[len(got)] = true
		}
		if len(a.got) != unique || len(sizes) != unique {
			t.Errorf("%d packets delivered, %d of them different, want %d; seed %d", len(a.got), len(sizes), unique, seed)
		}
		wantDrops(t, a.Device, map[string]uint64{"commit": 2 * unique})
	})
}
