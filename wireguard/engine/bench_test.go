package engine

import (
	"crypto/rand"
	"net/netip"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// benchRun is a full batch of packets of the usual MTU.
const (
	benchRun  = 44
	benchSize = 1420
)

// benchSlots are sealed packets of a, with the session that sealed them.
func benchSlots(b *testing.B, a, peer *node) (k *Keypair, slots [][]byte) {
	k = a.peer(peer).SendKey(a.time().Boot)
	first, _ := k.Reserve(benchRun)
	for i := range benchRun {
		slot := make([]byte, SealedSize(benchSize, 0))
		copy(slot[message.DataHeaderSize:], packet4(a.ip4(), peer.ip4(), benchSize, uint64(i)))
		k.Seal(slot, first+uint64(i))
		slots = append(slots, slot)
	}
	b.SetBytes(benchRun * benchSize)
	b.ReportAllocs()
	return k, slots
}

// BenchmarkSeal seals a run of 44 packets.
func BenchmarkSeal(b *testing.B) {
	_, a, peer := met(b, 1)
	k, slots := benchSlots(b, a, peer)
	for b.Loop() {
		first, ok := k.Reserve(benchRun)
		if !ok {
			b.Fatal("no nonces")
		}
		for i, slot := range slots {
			k.Seal(slot, first+uint64(i))
		}
	}
}

// BenchmarkOpen seals and opens a run: what it takes beyond BenchmarkSeal is
// the opening.
func BenchmarkOpen(b *testing.B) {
	_, a, peer := met(b, 1)
	k, slots := benchSlots(b, a, peer)
	now := a.time().Boot
	for b.Loop() {
		first, _ := k.Reserve(benchRun)
		for i, slot := range slots {
			k.Seal(slot, first+uint64(i))
		}
		for _, slot := range slots {
			if _, why := peer.engine.Find(message.DataReceiver(slot)).Open(now, slot); why != DropNone {
				b.Fatal(why)
			}
		}
	}
}

// BenchmarkCommit commits a run and polices its packets: replay window, timers,
// endpoint, AllowedIPs.
func BenchmarkCommit(b *testing.B) {
	_, a, peer := met(b, 1)
	_, slots := benchSlots(b, a, peer)
	now, from := a.time(), Endpoint{Addr: a.addr}
	k := peer.engine.Find(message.DataReceiver(slots[0]))
	opened := make([]Opened, benchRun)
	for i, slot := range slots {
		o, why := k.Open(now.Boot, slot)
		if why != DropNone {
			b.Fatal(why)
		}
		opened[i] = o
	}
	var out Output
	counter := uint64(1 << 20)
	run := make([]Opened, benchRun)
	for b.Loop() {
		copy(run, opened) // Commit empties what it refuses
		for i := range run {
			run[i].Counter = counter
			counter++
		}
		k.Commit(now, from, run, &out)
		for i := range run {
			if peer.engine.Police(k.Peer(), run[i].Packet) == nil {
				b.Fatal("refused")
			}
		}
		out.Reset()
	}
}

// BenchmarkRoute finds the peer of an address among 10,000.
func BenchmarkRoute(b *testing.B) {
	const peers = 10_000
	e := New(Config{Rand: rand.Reader})
	c := Change{}
	address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	for i := range peers {
		var public key.Public
		k, err := key.NewPrivate(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		public = k.Public()
		c.Peers = append(c.Peers, PeerChange{PublicKey: public, AllowedIPs: []netip.Prefix{netip.PrefixFrom(address(i), 32)}})
	}
	var out Output
	e.Apply(Time{}, c, &out)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if e.Route(address(i%peers)) == nil {
			b.Fatal("no peer")
		}
		i++
	}
}

// BenchmarkRespond answers an initiation: mac1, the four Diffie-Hellman
// computations that the whitepaper asks of a responder (section 5.4.2 and
// 5.4.3), the session. It prints which share of this the computations alone are.
func BenchmarkRespond(b *testing.B) {
	_, a, peer := pair(b, 1)
	const prepared = 256
	var initiations [][]byte
	now := a.time()
	var out Output
	for range prepared {
		now.Boot += time.Minute
		now.Wall = now.Wall.Add(time.Minute)
		a.peer(peer).Stage(now, &out, nil)
		out.Reset()
		a.peer(peer).Initiate(now, &out)
		for _, d := range out.Datagrams {
			initiations = append(initiations, clone(d.Bytes))
		}
		out.Reset()
	}
	if len(initiations) != prepared {
		b.Fatalf("%d initiations, want %d", len(initiations), prepared)
	}
	began, k, public := peer.time(), a.key, peer.key.Public()
	i := 0
	var whole, alone time.Duration
	for b.Loop() {
		if i == prepared {
			// They are new to an engine that has forgotten their maker.
			peer.apply(Change{ReplacePeers: true})
			peer.knows(a)
			i = 0
		}
		began.Boot += time.Minute
		begin := time.Now()
		if peer.engine.Admit(began, Endpoint{Addr: a.addr}, initiations[i], Backlog{Limit: 1024}, &out) {
			peer.engine.Handshake(began, Endpoint{Addr: a.addr}, initiations[i], &out)
		}
		whole += time.Since(begin)
		if len(out.Datagrams) != 1 {
			b.Fatal("not answered")
		}
		out.Reset()
		i++
		begin = time.Now()
		for range 4 {
			if _, err := k.DH(public); err != nil {
				b.Fatal(err)
			}
		}
		alone += time.Since(begin)
	}
	b.ReportMetric(float64(whole)/float64(b.N), "ns/op")
	b.ReportMetric(100*float64(alone)/float64(whole), "%-X25519")
}
