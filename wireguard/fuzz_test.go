package wireguard

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// How FuzzDatagrams dresses each datagram of a train, so that it gets further
// than random bytes would.
const (
	asItIs     = iota
	inSession  // data for the live session, which does not open
	withMAC1   // what knows our public key, and no more
	dressModes = iota
)

// benchInner is the address of bench's peer inside the tunnel.
var benchInner = netip.MustParseAddr("10.0.0.2")

// bench is a Device without sockets or goroutines, and a peer in session with
// it: a receiver at work, one read at a time.
type bench struct {
	*speaker
	device    *Device
	receiver  receiver
	now       engine.Time
	signer    handshake.Signer
	connected time.Duration
	delivered [][]byte
}

func newBench(t testing.TB) *bench {
	private, peer := ephemeralKey(t), ephemeralKey(t)
	b := &bench{now: engine.Time{Wall: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}}
	d, err := New(Config{
		PrivateKey: private,
		Clock:      func() engine.Time { return b.now },
		Deliver: func(packets [][]byte) {
			for _, p := range packets {
				b.delivered = append(b.delivered, bytes.Clone(p))
			}
		},
		Peers: []PeerChange{{PeerChange: engine.PeerChange{PublicKey: peer.Public(), AllowedIPs: []netip.Prefix{netip.PrefixFrom(benchInner, 32)}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.device, b.receiver = d, receiver{device: d}
	b.speaker = newSpeaker(t, peer, private.Public(), d.clock)
	d.configure(func(out *engine.Output) { d.engine.Up(b.now, out) })
	b.connect()
	return b
}

// connect makes a session that the peer began.
func (b *bench) connect() {
	var out engine.Output
	b.device.engine.Handshake(b.now, engine.Endpoint{Addr: elsewhere}, b.initiation(), &out)
	if len(out.Datagrams) != 1 {
		b.Fatalf("the initiation was not answered: %v", b.device.Drops())
	}
	b.finish(out.Datagrams[0].Bytes)
	b.connected = b.now.Boot
	b.arrive(b.data(nil), message.DataMinSize)
}

// arrive is one read of the socket, and all that follows from it.
func (b *bench) arrive(datagrams []byte, stride int) {
	b.receiver.trains(b.now, []train{{datagrams: datagrams, stride: stride, from: engine.Endpoint{Addr: elsewhere}}})
	var out engine.Output
	for len(b.device.work.messages) > 0 {
		m := <-b.device.work.messages
		b.device.engine.Handshake(b.now, m.from, m.buf[:m.n], &out)
	}
}

// step lets two seconds pass, in which load ends, and renews the session in
// time.
func (b *bench) step() {
	b.now.Boot += 2 * time.Second
	b.now.Wall = b.now.Wall.Add(2 * time.Second)
	if b.now.Boot-b.connected > engine.RekeyAfterTime {
		b.connect()
	}
}

// dropped is how many datagrams were dropped. A cookie reply that can't be sent
// is not one of those that came in.
func (b *bench) dropped() (n uint64) {
	for reason, count := range b.device.Drops() {
		if reason != "transmit" {
			n += count
		}
	}
	return n
}

// FuzzDatagrams has a socket bring trains of datagrams, of any length up to
// 65,535 bytes in all and of any stride, to a Device with a live session. Each
// datagram is dropped and counted once, nothing of it is delivered, and a
// packet of the peer, in the same read or the next, still is.
func FuzzDatagrams(f *testing.F) {
	b := newBench(f)
	f.Fuzz(func(t *testing.T, pattern []byte, length, stride uint16, dress byte) {
		b.TB = t
		b.step()
		train, size := make([]byte, length), max(int(stride), 1)
		for n := 0; len(pattern) > 0 && n < len(train); {
			n += copy(train[n:], pattern)
		}
		for n := 0; n < len(train); n += size {
			b.dress(train[n:min(n+size, len(train))], dress%dressModes)
		}
		datagrams := uint64((len(train) + size - 1) / size)
		before, delivered := b.dropped(), len(b.delivered)
		b.arrive(train, size)
		if got := b.dropped() - before; got != datagrams || len(b.delivered) != delivered {
			t.Fatalf("%d datagrams: %d dropped, %d delivered; all drops %v", datagrams, got, len(b.delivered)-delivered, b.device.Drops())
		}

		want := packet(benchInner, benchInner, 84)
		msg := b.data(want)
		if room := len(train) / size * size; size >= len(msg) {
			train = append(train[:room], msg...) // last of the train, and shorter
			for n := 0; n < room; n += size {
				b.dress(train[n:n+size], inSession) // it was decrypted in place
			}
			b.arrive(train, size)
		} else {
			b.arrive(msg, len(msg))
		}
		if len(b.delivered) != delivered+1 || !bytes.Equal(b.delivered[delivered], want) {
			t.Fatalf("a packet behind it was not delivered; drops %v", b.device.Drops())
		}
		b.delivered = b.delivered[:0]
	})
}

// dress changes a datagram in place.
func (b *bench) dress(msg []byte, mode byte) {
	switch {
	case mode == inSession && len(msg) >= message.DataMinSize:
		message.PutDataHeader(msg, b.session.remote, binary.LittleEndian.Uint64(msg[8:]))
	case mode == withMAC1 && len(msg) == message.InitiationSize:
		binary.LittleEndian.PutUint32(msg, uint32(message.TypeInitiation))
		b.signer.Sign(b.now.Boot, b.remote, msg)
	case mode == withMAC1 && len(msg) == message.ResponseSize:
		binary.LittleEndian.PutUint32(msg, uint32(message.TypeResponse))
		b.signer.Sign(b.now.Boot, b.remote, msg)
	}
}
