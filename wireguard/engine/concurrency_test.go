package engine

import (
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestConcurrentUse lets goroutines do to two engines all that may be done at
// the same time, for the race detector to look at. What arrives is what was
// sent, once.
func TestConcurrentUse(t *testing.T) {
	const packets = 2000
	sides := newSides(t)
	stop := make(chan struct{})
	var senders, receivers sync.WaitGroup
	for i, s := range sides {
		other := sides[1-i]
		senders.Go(func() {
			for i := range packets {
				s.send(other)
				s.advance()
				if i%50 == 0 {
					s.configure(i%500 == 0)
				}
			}
		})
		senders.Go(func() {
			for range packets {
				s.send(other)
				s.advance()
			}
		})
		receivers.Go(func() { s.receive(stop) })
	}
	senders.Wait()
	close(stop)
	receivers.Wait()
	for _, s := range sides {
		if n := s.twice.Load(); n > 0 {
			t.Errorf("%d packets came twice", n)
		}
		if s.arrived.Load() == 0 {
			t.Errorf("nothing arrived (drops: %v)", s.engine.Drops())
		}
		t.Logf("%d of %d packets arrived", s.arrived.Load(), 2*packets)
	}
}

// side is one of two engines on goroutines.
type side struct {
	engine *Engine
	key    key.Private
	addr   netip.AddrPort
	inner  netip.Addr
	inbox  chan []byte
	clock  *atomic.Int64 // nanoseconds
	other  *side

	ids     atomic.Uint64
	seen    sync.Map // ids that arrived
	arrived atomic.Uint64
	twice   atomic.Uint64
}

func newSides(t *testing.T) (sides [2]*side) {
	clock := new(atomic.Int64)
	for i := range sides {
		n := byte(i + 1)
		s := &side{
			engine: New(Config{Rand: &lockedReader{r: rand.NewChaCha8([32]byte{n})}, NewLock: func() Locker { return new(sync.Mutex) }}),
			key:    key.PrivateFrom([32]byte{31: n}),
			addr:   netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 1),
			inner:  netip.AddrFrom4([4]byte{10, 0, 0, n}),
			inbox:  make(chan []byte, 1024),
			clock:  clock,
		}
		sides[i] = s
	}
	for i, s := range sides {
		s.other = sides[1-i]
		var out Output
		s.engine.Apply(s.now(), Change{PrivateKey: &s.key, Peers: []PeerChange{s.change()}}, &out)
		s.engine.Up(s.now(), &out)
		s.finish(&out)
	}
	return sides
}

// lockedReader is a source for many goroutines.
type lockedReader struct {
	mu sync.Mutex
	r  *rand.ChaCha8 // guarded by mu
}

func (l *lockedReader) Read(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(b)
}

func (s *side) now() Time {
	boot := time.Duration(s.clock.Load())
	return Time{Boot: boot, Wall: epoch.Add(boot)}
}

func (s *side) change() PeerChange {
	to := s.other.addr
	return PeerChange{PublicKey: s.other.key.Public(), Endpoint: &to, AllowedIPs: []netip.Prefix{netip.PrefixFrom(s.other.inner, 32)}}
}

// finish does what the engine asked for; what the other side has no room for
// is lost.
func (s *side) finish(out *Output) {
	for {
		for _, d := range out.Datagrams {
			select {
			case s.other.inbox <- clone(d.Bytes):
			default:
			}
		}
		initiate := append([]*Peer(nil), out.Initiate...)
		out.Reset()
		if len(initiate) == 0 {
			return
		}
		for _, p := range initiate {
			p.Initiate(s.now(), out)
		}
	}
}

// send moves the clock on, slowly enough for a handshake to be done within
// Rekey-Timeout. Without a session it gives the others time to make one.
func (s *side) send(to *side) {
	var out Output
	packet := packet4(s.inner, to.inner, 64, s.ids.Add(1))
	p := s.engine.Route(to.inner)
	if p == nil {
		return // just being changed
	}
	now := s.now()
	k := p.SendKey(now.Boot)
	if k == nil {
		p.Stage(now, &out, packet)
		s.finish(&out)
		for range 100_000 {
			if p.SendKey(s.now().Boot) != nil {
				break
			}
			s.clock.Add(int64(100 * time.Microsecond))
			s.advance()
			runtime.Gosched()
		}
		return
	}
	s.clock.Add(int64(2 * time.Millisecond))
	if first, ok := k.Reserve(1); ok {
		slot := make([]byte, SealedSize(len(packet), 0))
		copy(slot[message.DataHeaderSize:], packet)
		k.Seal(slot, first)
		to.inbox <- slot
		p.Sent(now, k, len(slot), &out)
		s.finish(&out)
	}
}

// receive takes in what comes until stop, and then what is there.
func (s *side) receive(stop <-chan struct{}) {
	var out Output
	from := Endpoint{Addr: s.other.addr}
	for {
		select {
		case msg := <-s.inbox:
			s.handle(from, msg, &out)
			s.finish(&out)
			continue
		default:
		}
		select {
		case <-stop:
			return
		case msg := <-s.inbox:
			s.handle(from, msg, &out)
			s.finish(&out)
		}
	}
}

func (s *side) handle(from Endpoint, msg []byte, out *Output) {
	now := s.now()
	if t, _ := message.Classify(msg); t != message.TypeData {
		if s.engine.Admit(now, from, msg, Backlog{Limit: 1024}, out) {
			s.engine.Handshake(now, from, msg, out)
		}
		return
	}
	k := s.engine.Find(message.DataReceiver(msg))
	if k == nil {
		return
	}
	opened, why := k.Open(now.Boot, msg)
	if why != DropNone {
		return
	}
	run := []Opened{opened}
	k.Commit(now, from, run, out)
	if len(run[0].Packet) == 0 {
		return
	}
	if packet := s.engine.Police(k.Peer(), run[0].Packet); packet != nil {
		s.arrived.Add(1)
		if _, twice := s.seen.LoadOrStore(packetID(packet), true); twice {
			s.twice.Add(1)
		}
	}
}

// advance runs the timers.
func (s *side) advance() {
	var out Output
	now := s.now()
	if p := s.engine.Peer(s.other.key.Public()); p.Deadline() <= now.Boot {
		p.Advance(now, &out)
		s.finish(&out)
	}
}

// configure changes what may change under traffic, and looks at it.
func (s *side) configure(suspend bool) {
	var out Output
	every := time.Duration(s.clock.Load()) % (30 * time.Second)
	c := s.change()
	c.Keepalive, c.ReplaceAllowedIPs = &every, true
	s.engine.Apply(s.now(), Change{Peers: []PeerChange{c}}, &out)
	if suspend {
		s.engine.Suspend(s.now(), &out)
	}
	s.finish(&out)
	s.engine.Snapshot()
	s.engine.ForgetSources()
	s.engine.LastHeard()
}
