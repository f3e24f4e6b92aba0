package wireguard

import (
	"crypto/rand"
	"encoding/binary"
	"math"
	mathrand "math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// TestW5InitiationFlood: one peer sends an initiation every millisecond, each
// valid and newer than the last. At most fifty a second are answered.
func TestW5InitiationFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sent, interval = 400, time.Millisecond
		a, p := script(t, nil)
		stamp := handshake.TimestampAt(p.clock().Wall)
		answered := 0
		for range sent {
			p.say(p.initiationAt(stamp))
			stamp = stamp.Next()
			for p.hear() != nil {
				answered++
			}
			time.Sleep(interval)
		}
		if most := int(sent * interval / (20 * time.Millisecond)); answered != most {
			t.Errorf("%d of %d initiations answered in %v, want %d", answered, sent, sent*interval, most)
		}
		wantDrops(t, a.Device, map[string]uint64{"flood": uint64(sent - answered)})
	})
}

// fourIndices is a source of randomness of which every 32-bit number is one of
// four.
type fourIndices struct{}

func (fourIndices) Read(b []byte) (int, error) {
	n, err := rand.Read(b)
	if len(b) == 4 {
		binary.LittleEndian.PutUint32(b, binary.LittleEndian.Uint32(b)%4)
	}
	return n, err
}

// TestW11UsedIndex: with only four indices to draw from there are never two
// sessions with the same one. A fifth peer is refused until one is free.
func TestW11UsedIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		clock := &testClock{start: time.Now()}
		private := ephemeralKey(t)
		to := netip.MustParseAddrPort("192.0.2.1:51820")
		var peers []*scripted
		c := Config{
			PrivateKey: private, ListenPort: to.Port(), Deliver: func([][]byte) {}, Clock: clock.now,
			ListenPacket: n.host(to.Addr()), Rand: fourIndices{},
		}
		for i := range 5 {
			k := ephemeralKey(t)
			at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}), 1)
			peers = append(peers, listen(t, n, newSpeaker(t, k, private.Public(), clock.now), at, to))
			c.Peers = append(c.Peers, PeerChange{PeerChange: engine.PeerChange{PublicKey: k.Public()}})
		}
		d, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		run(t, &side{Device: d})
		<-d.Ready()
		used := map[uint32]bool{}
		connect := func(p *scripted) bool {
			for range 20 { // 16 draws of four may all hit a used one
				p.say(p.initiation())
				if response := p.hear(); response != nil {
					p.finish(response)
					p.say(p.data(nil))
					return true
				}
				time.Sleep(time.Second)
			}
			return false
		}
		for i, p := range peers[:4] {
			if !connect(p) {
				t.Fatalf("peer %d was refused, with %d indices in use", i, len(used))
			}
			if index := p.session.remote; used[index] || index > 3 {
				t.Fatalf("peer %d got index %d, used are %v", i, index, used)
			} else {
				used[index] = true
			}
		}
		if connect(peers[4]) {
			t.Error("a fifth session on four indices")
		}
		if d.Drops()["random"] == 0 {
			t.Errorf("dropped %v, want those that found no index", d.Drops())
		}
		gone := PeerChange{PeerChange: engine.PeerChange{PublicKey: peers[2].id.Public(), Remove: true}}
		if err := d.Apply(Change{Peers: []PeerChange{gone}}); err != nil {
			t.Fatal(err)
		}
		if !connect(peers[4]) || peers[4].session.remote != peers[2].session.remote {
			t.Error("the index of a removed peer was not given to the next")
		}
	})
}

// TestW15CrossingInitiations: both sides begin in the same tick, over a path
// that delays each datagram at random. Both packets arrive without much ado.
func TestW15CrossingInitiations(t *testing.T) {
	const rounds, maxDelay = 100, 200 * time.Millisecond
	worst := time.Duration(0)
	for seed := range uint64(rounds) {
		synctest.Test(t, func(t *testing.T) {
			n := newMemNet()
			sides := pairOf(t, n, &testClock{start: time.Now()}, nil)
			run(t, sides[:]...)
			synctest.Wait()
			var mu sync.Mutex
			random := mathrand.New(mathrand.NewPCG(seed, 15))
			n.setTap(func(from, to netip.AddrPort, b []byte) [][]byte {
				mu.Lock()
				defer mu.Unlock()
				time.AfterFunc(time.Duration(random.Int64N(int64(maxDelay))), func() { n.inject(from, to, b) })
				return nil
			})
			a, b := sides[0], sides[1]
			start := time.Now()
			a.send(t, b, 1, 84)
			b.send(t, a, 1, 84)
			for a.received()+b.received() < 2 && time.Since(start) < time.Minute {
				time.Sleep(5 * time.Millisecond)
			}
			worst = max(worst, time.Since(start))
			if took, limit := time.Since(start), 2*2*maxDelay+5334*time.Millisecond; took > limit {
				t.Errorf("seed %d: took %v, want %v at most", seed, took, limit)
			}
		})
	}
	t.Logf("the slowest of %d took %v", rounds, worst)
}

// TestW18CounterLimits: a session is renewed at Rekey-After-Messages, ends at
// Reject-After-Messages, and never uses a nonce twice.
func TestW18CounterLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := script(t, nil)
		p.connect() // as the responder, which renews by the counter only
		keys := a.engine.Peer(p.id.Public())
		skip := func(to uint64) {
			t.Helper()
			k := keys.SendKey(a.clock().Boot)
			for {
				next, ok := k.Reserve(1)
				if !ok || next >= to {
					t.Fatalf("the counter is at %d, can't go to %d", next, to)
				}
				left := to - next - 1
				if left == 0 {
					return
				}
				k.Reserve(int(min(left-1, math.MaxInt)))
			}
		}
		nonces := map[uint64]bool{}
		wantCounter := func(counter uint64) {
			t.Helper()
			a.sendTo(t, p, 1, 84)
			msg := p.want(message.TypeData, "the session is good")
			p.open(msg)
			if got := message.DataCounter(msg); got != counter || nonces[got] {
				t.Errorf("counter %d, used before %t, want %d", got, nonces[got], counter)
			}
			nonces[counter] = true
		}
		time.Sleep(engine.RekeyTimeout) // since the response

		skip(engine.RekeyAfterMessages - 1)
		wantCounter(engine.RekeyAfterMessages - 1)
		p.silence("2^60 messages are allowed")
		wantCounter(engine.RekeyAfterMessages)
		p.want(message.TypeInitiation, "one more asks for a new session")

		const reject = 1<<64 - 1<<13 - 1
		skip(reject - 2)
		time.Sleep(engine.RekeyTimeout + time.Second)
		p.want(message.TypeInitiation, "the retransmission")
		wantCounter(reject - 2)
		a.sendTo(t, p, 2, 84) // and there is one nonce left
		if got := message.DataCounter(p.want(message.TypeData, "the last nonce")); got != reject-1 {
			t.Errorf("counter %d, want the last", got)
		}
		p.silence("the other packet waits, and an initiation is on its way already")
		time.Sleep(engine.RekeyTimeout + time.Second)
		p.accept()
		msg := p.want(message.TypeData, "what was staged goes with the new session")
		if p.open(msg); message.DataCounter(msg) != 0 {
			t.Errorf("the new session began with counter %d", message.DataCounter(msg))
		}
		p.silence("that was all")
	})
}
