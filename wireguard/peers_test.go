package wireguard

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// crowd is many peers that nobody plays: their keys are random, and nothing is
// at their addresses.
type crowd []key.Public

func newCrowd(n int) crowd {
	c := make(crowd, n)
	for i := range c {
		var b [key.Size]byte
		_, _ = rand.Read(b[:])
		c[i] = key.PublicFrom(b)
	}
	return c
}

// inner is the tunnel's address of the i-th.
func (c crowd) inner(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(1 + i>>16), byte(i >> 8), byte(i)})
}

// peer is the change that adds the i-th, or gives it another's address.
func (c crowd) peer(i, inner int, keepalive time.Duration) PeerChange {
	psk := key.PresharedFrom([key.Size]byte{1, byte(i)})
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(inner >> 8), byte(inner)}), 1)
	return PeerChange{PeerChange: engine.PeerChange{
		PublicKey: c[i], PresharedKey: &psk, Endpoint: &to, Keepalive: &keepalive, ReplaceAllowedIPs: true,
		AllowedIPs: []netip.Prefix{netip.PrefixFrom(c.inner(inner), 32)},
	}}
}

func (c crowd) remove(i int) PeerChange {
	return PeerChange{PeerChange: engine.PeerChange{PublicKey: c[i], Remove: true}}
}

// pingPong keeps traffic going between two sides until the end of the test,
// and returns what stops it and checks that nothing was lost.
func pingPong(t *testing.T, a, b *side, arrived <-chan int) (stop func()) {
	var ended atomic.Bool
	var running sync.WaitGroup
	running.Go(func() {
		const burst = 10
		for round := 0; !ended.Load(); round++ {
			from, to := a, b
			if round%2 == 1 {
				from, to = b, a
			}
			from.send(t, to, burst, 1000)
			for n := 0; n < burst; {
				select {
				case more := <-arrived:
					n += more
				case <-time.After(20 * time.Second):
					t.Errorf("round %d: %d of %d packets arrived; dropped %v and %v", round, n, burst, from.Drops(), to.Drops())
					return
				}
			}
			time.Sleep(time.Millisecond) // traffic, not a benchmark
		}
	})
	return func() {
		ended.Store(true)
		running.Wait()
	}
}

// TestPeersComeAndGo adds, changes, moves and removes peers by the thousand
// while two others talk, and while some of those that come and go make
// sessions of their own. Nothing of them is left in the end.
func TestPeersComeAndGo(t *testing.T) {
	const rounds, each, keepalives = 50, 200, 4
	n := newMemNet()
	arrived := make(chan int, 64)
	sides := pairOf(t, n, &testClock{start: time.Now()}, func(_ int, c *Config) {
		c.Deliver = func(packets [][]byte) { arrived <- len(packets) }
		c.OnEvent = nil // what is noted down holds its peer
	})
	a, b := sides[0], sides[1]
	indices := map[uint32]bool{} // that a ever used, but for its session with b
	n.setTap(func(from, to netip.AddrPort, msg []byte) [][]byte {
		if kind, _ := message.Classify(msg); from == a.outer && to != b.outer && kind != message.TypeData {
			n.mu.Lock()
			indices[binary.LittleEndian.Uint32(msg[4:])] = true
			n.mu.Unlock()
		}
		return [][]byte{msg}
	})
	run(t, a, b)
	<-a.Ready()
	<-b.Ready()
	guest := listen(t, n, newSpeaker(t, ephemeralKey(t), a.private.Public(), a.clock), netip.MustParseAddrPort("192.0.2.3:1"), a.outer)
	all := newCrowd(rounds * each)
	heap, goroutines := liveHeap(), runtime.NumGoroutine()
	stop := pingPong(t, a, b, arrived)

	apply := func(c Change) {
		t.Helper()
		if err := a.Apply(c); err != nil {
			t.Error(err)
		}
	}
	for round := range rounds {
		first := round * each
		add, change, removal := Change{}, Change{}, Change{}
		for i := first; i < first+each; i++ {
			keepalive := time.Duration(0)
			if i < first+keepalives {
				keepalive = 25 * time.Second // begins a handshake
			}
			add.Peers = append(add.Peers, all.peer(i, i, keepalive))
			change.Peers = append(change.Peers, all.peer(i, first+(i+1-first)%each, 0)) // its neighbour's address
			removal.Peers = append(removal.Peers, all.remove(i))
		}
		apply(add)
		guestIn := PeerChange{PeerChange: engine.PeerChange{PublicKey: guest.id.Public()}}
		apply(Change{Peers: []PeerChange{guestIn}})
		guest.dial()
		apply(change)
		apply(Change{Peers: []PeerChange{{PeerChange: engine.PeerChange{ // of the one that is busy
			PublicKey: b.private.Public(), ReplaceAllowedIPs: true, AllowedIPs: []netip.Prefix{netip.PrefixFrom(b.inner, 32)},
		}}}})
		if r, err := a.Route(all.inner(first + 1)); err != nil || r.peer.Public() != all[first] {
			t.Fatalf("round %d: the moved address belongs to another peer (%v)", round, err)
		}
		if got := len(a.Snapshot().Peers); got != each+2 {
			t.Fatalf("round %d: %d peers, want %d", round, got, each+2)
		}
		if round%2 == 0 {
			guestIn.Remove = true
			removal.Peers = append(removal.Peers, guestIn)
			apply(removal)
		} else {
			apply(Change{ReplacePeers: true, Peers: []PeerChange{{PeerChange: engine.PeerChange{PublicKey: b.private.Public()}}}})
		}
	}
	stop()
	wantNothingLeft(t, a, b, indices, n)
	if got := runtime.NumGoroutine(); got > goroutines {
		t.Errorf("%d goroutines, %d before", got, goroutines)
	}
	grown := int64(liveHeap()) - int64(heap)
	t.Logf("%d peers came and went, %d indices were used, the heap grew by %d KiB", rounds*each, len(indices), grown>>10)
	if grown > 1<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	runtime.KeepAlive(all)
}

// dial makes a session outside of a synctest bubble.
func (s *scripted) dial() {
	s.Helper()
	s.net.inject(s.at, s.to, s.initiation())
	buf := make([]byte, message.ResponseSize)
	for {
		n, _, err := s.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			s.Fatal(err)
		}
		if kind, _ := message.Classify(buf[:n]); kind == message.TypeResponse {
			break
		}
	}
	s.finish(buf)
	s.net.inject(s.at, s.to, s.data(nil))
}

// wantNothingLeft checks that a has no trace of any peer but b.
func wantNothingLeft(t *testing.T, a, b *side, indices map[uint32]bool, n *memNet) {
	t.Helper()
	if s := a.Snapshot(); len(s.Peers) != 1 || s.Peers[0].PublicKey != b.private.Public() {
		t.Errorf("%d peers, want the other side alone", len(s.Peers))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	found := a.Drops()["find"]
	r := receiver{device: a.Device}
	for index := range indices {
		msg := make([]byte, message.DataMinSize)
		message.PutDataHeader(msg, index, 0)
		r.trains(a.clock(), []train{{datagrams: msg, stride: len(msg), from: engine.Endpoint{Addr: elsewhere}}})
	}
	if got := a.Drops()["find"] - found; got != uint64(len(indices)) {
		t.Errorf("%d of %d indices still mean something", len(indices)-int(got), len(indices))
	}
	a.timers.mu.Lock()
	defer a.timers.mu.Unlock()
	if len(a.timers.heap) > 1 || len(a.timers.index) != len(a.timers.heap) {
		t.Errorf("%d places among the timers, want one at most", len(a.timers.heap))
	}
}

// TestIdlePeers: peers that say nothing cost memory and nothing else.
func TestIdlePeers(t *testing.T) {
	const idle = 1000
	synctest.Test(t, func(t *testing.T) {
		a, p := script(t, nil)
		synctest.Wait()
		all := newCrowd(idle)
		heap, goroutines := liveHeap(), runtime.NumGoroutine()
		var add, removal Change
		for i := range all {
			add.Peers = append(add.Peers, all.peer(i, i, 0))
		}
		if err := a.Apply(add); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		add = Change{}
		if got := runtime.NumGoroutine(); got > goroutines {
			t.Errorf("%d goroutines with %d idle peers, %d without", got, idle, goroutines)
		}
		grown := int64(liveHeap()) - int64(heap)
		t.Logf("an idle peer costs %d bytes", grown/idle)
		if grown > idle*4096 {
			t.Errorf("%d idle peers cost %d bytes", idle, grown)
		}
		for i := range all {
			removal.Peers = append(removal.Peers, all.remove(i))
		}
		if err := a.Apply(removal); err != nil {
			t.Fatal(err)
		}
		removal = Change{}
		grown = int64(liveHeap()) - int64(heap)
		t.Logf("after they were removed the heap is %d KiB larger", grown>>10)
		if grown > 1<<20 {
			t.Errorf("the heap is %d bytes larger", grown)
		}
		p.connect()
		runtime.KeepAlive(all)
	})
}

// TestIdleSessions: nor does a session cost a goroutine.
func TestIdleSessions(t *testing.T) {
	const sessions = 100
	synctest.Test(t, func(t *testing.T) {
		a, p := script(t, nil)
		var add Change
		guests := make([]*scripted, sessions)
		for i := range guests {
			s := newSpeaker(t, ephemeralKey(t), a.private.Public(), p.clock)
			at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 100}), uint16(1000+i))
			guests[i] = listen(t, p.net, s, at, p.to)
			add.Peers = append(add.Peers, PeerChange{PeerChange: engine.PeerChange{PublicKey: s.id.Public()}})
		}
		if err := a.Apply(add); err != nil {
			t.Fatal(err)
		}
		add = Change{}
		heap, goroutines := liveHeap(), runtime.NumGoroutine()
		for _, g := range guests {
			g.connect()
		}
		if got := runtime.NumGoroutine(); got > goroutines {
			t.Errorf("%d goroutines with %d sessions, %d without", got, sessions, goroutines)
		}
		grown := int64(liveHeap()) - int64(heap)
		t.Logf("a session costs %d bytes, its scripted side included", grown/sessions)
		if grown > sessions*8192 {
			t.Errorf("%d sessions cost %d bytes", sessions, grown)
		}
		runtime.KeepAlive(guests)
	})
}
