package wireguard

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// side is one of two devices that are each other's only peer.
type side struct {
	*Device
	private key.Private
	inner   netip.Addr // its address inside the tunnel
	outer   netip.AddrPort
	events  *eventLog

	mu  sync.Mutex
	got [][]byte // packets that were delivered
}

type eventLog struct {
	mu   sync.Mutex
	seen []engine.Event
}

func (l *eventLog) add(e engine.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, e)
}

func (l *eventLog) count(kind engine.EventKind) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, e := range l.seen {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

func (s *side) deliver(packets [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range packets {
		s.got = append(s.got, bytes.Clone(p))
	}
}

func (s *side) received() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.got)
}

// testClock follows package time, which is virtual inside a synctest bubble,
// and can be set ahead as if the machine had slept.
type testClock struct {
	start time.Time
	mu    sync.Mutex
	slept time.Duration
}

func (c *testClock) now() engine.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	return engine.Time{Boot: now.Sub(c.start) + c.slept, Wall: now.Add(c.slept)}
}

func (c *testClock) sleep(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slept += d
}

// pairOf makes two devices on n. mutate may change a side's Config first.
func pairOf(t *testing.T, n *memNet, clock *testClock, mutate func(i int, c *Config)) [2]*side {
	t.Helper()
	var sides [2]*side
	for i := range sides {
		private, err := key.NewPrivate(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		sides[i] = &side{
			private: private, events: new(eventLog),
			inner: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}),
			outer: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), 51820),
		}
	}
	for i, s := range sides {
		peer := sides[1-i]
		c := Config{
			PrivateKey: s.private, ListenPort: s.outer.Port(), Deliver: s.deliver, OnEvent: s.events.add,
			Clock: clock.now, ListenPacket: n.host(s.outer.Addr()),
			Peers: []PeerChange{{PeerChange: engine.PeerChange{
				PublicKey: peer.private.Public(), Endpoint: &peer.outer,
				AllowedIPs: []netip.Prefix{netip.PrefixFrom(peer.inner, 32)},
			}}},
		}
		if mutate != nil {
			mutate(i, &c)
		}
		d, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		s.Device = d
	}
	return sides
}

// run runs the devices until the test ends.
func run(t *testing.T, sides ...*side) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, s := range sides {
		running.Go(func() {
			if err := s.Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

// packet makes a minimal IPv4 packet of n bytes.
func packet(from, to netip.Addr, n int) []byte {
	b := make([]byte, n)
	b[0] = 0x45
	binary.BigEndian.PutUint16(b[2:], uint16(n))
	src, dst := from.As4(), to.As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	for i := 20; i < n; i++ {
		b[i] = byte(i)
	}
	return b
}

// send sends count packets of size bytes in one batch.
func (s *side) send(t *testing.T, to *side, count, size int) {
	t.Helper()
	r, err := s.Route(to.inner)
	if err != nil {
		t.Fatal(err)
	}
	b := s.NewBatch(r, size)
	for range count {
		copy(b.Add(size), packet(s.inner, to.inner, size))
	}
	s.Send(b)
}

func TestDeviceCarriesPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		sides := pairOf(t, n, &testClock{start: time.Now()}, nil)
		var lengths []int
		n.setTap(func(_, _ netip.AddrPort, b []byte) [][]byte {
			n.mu.Lock()
			defer n.mu.Unlock()
			lengths = append(lengths, len(b))
			return [][]byte{b}
		})
		run(t, sides[:]...)
		synctest.Wait()
		a, b := sides[0], sides[1]
		a.send(t, b, 3, 84)
		synctest.Wait()
		b.send(t, a, 44, 1420)
		synctest.Wait()
		if a.received() != 44 || b.received() != 3 {
			t.Fatalf("received %d and %d packets, want 44 and 3", a.received(), b.received())
		}
		if got, want := a.got[0], packet(b.inner, a.inner, 1420); !bytes.Equal(got, want) {
			t.Error("a packet changed on its way")
		}
		want := []int{message.InitiationSize, message.ResponseSize, 128, 128, 128}
		for i, w := range want {
			if lengths[i] != w {
				t.Errorf("datagram %d had %d bytes, want %d: an eavesdropper sees a handshake, then the staged packets", i, lengths[i], w)
			}
		}
		if len(lengths) != 5+44 || lengths[5] != 1452 {
			t.Errorf("%d datagrams in all, the full ones of %d bytes, want 49 and 1452", len(lengths), lengths[5])
		}
		if drops := a.Drops(); len(drops) != 0 {
			t.Errorf("dropped %v", drops)
		}
	})
}

// TestDeviceSuspend: a laptop wakes after an hour, and the tunnel works with
// the first packet.
func TestDeviceSuspend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		clock := &testClock{start: time.Now()}
		other := &testClock{start: time.Now()}
		sides := pairOf(t, n, clock, func(i int, c *Config) {
			if i == 1 {
				c.Clock = other.now // it stayed awake
			}
		})
		run(t, sides[:]...)
		a, b := sides[0], sides[1]
		synctest.Wait()
		a.send(t, b, 1, 84)
		synctest.Wait()
		clock.sleep(time.Hour)
		other.sleep(time.Hour)
		a.send(t, b, 1, 84)
		synctest.Wait()
		if b.received() != 2 {
			t.Fatalf("%d packets arrived, want 2", b.received())
		}
		time.Sleep(maxSleep + time.Second)
		if got := a.events.count(engine.EventHandshake); got < 2 {
			t.Errorf("%d handshakes, want one before and one after the sleep", got)
		}
	})
}

// TestDeviceClose: Run ends within a second from any state and wipes sessions.
func TestDeviceClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		sides := pairOf(t, n, &testClock{start: time.Now()}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- sides[0].Run(ctx) }()
		synctest.Wait()
		sides[0].send(t, sides[1], 1, 84) // nobody answers
		time.Sleep(7 * time.Second)
		start := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %v", took)
		}
		if err := sides[0].Run(t.Context()); err == nil {
			t.Error("a second Run was not refused")
		}
	})
}
