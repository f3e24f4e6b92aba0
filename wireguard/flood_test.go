package wireguard

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

const (
	pacedRate   = 200_000_000 / 8 // of the tunnel, in bytes a second
	floodRate   = 100_000         // messages a second
	floodQuiet  = 700 * time.Millisecond
	floodLasts  = 1500 * time.Millisecond
	floodSource = 16 // sockets that it comes from
)

// pacedTunnel is a pair on real sockets of which the first sends full packets
// to the second at pacedRate.
type pacedTunnel struct {
	a, b  *side
	bytes atomic.Int64 // delivered to b
}

func newPacedTunnel(t *testing.T, more ...PeerChange) *pacedTunnel {
	t.Helper()
	p := new(pacedTunnel)
	sides := pairOf(t, newMemNet(), &testClock{start: time.Now()}, func(i int, c *Config) {
		c.ListenPort, c.ListenPacket, c.Clock = 0, new(scriptedHost).listen, nil
		if i == 1 {
			c.Peers = append(c.Peers, more...)
			c.Deliver = func(packets [][]byte) {
				for _, packet := range packets {
					p.bytes.Add(int64(len(packet)))
				}
			}
		}
	})
	p.a, p.b = sides[0], sides[1]
	run(t, sides[:]...)
	<-p.a.Ready()
	<-p.b.Ready()
	aims(t, p.a, p.b)
	p.a.send(t, p.b, 1, 84)
	waitFor(t, func() bool { return p.bytes.Load() > 0 })

	var ended atomic.Bool
	var sending sync.WaitGroup
	sending.Go(func() {
		const burst = maxBatchPackets * DefaultMTU
		next := time.Now()
		for !ended.Load() {
			p.a.send(t, p.b, maxBatchPackets, DefaultMTU)
			next = next.Add(burst * time.Second / pacedRate)
			wait := time.Until(next)
			if wait < -50*time.Millisecond {
				next = time.Now() // what was missed is not made up for
			}
			time.Sleep(wait)
		}
	})
	t.Cleanup(func() {
		ended.Store(true)
		sending.Wait()
	})
	return p
}

// rate is what arrives over a span of time, in bits a second.
func (p *pacedTunnel) rate(span time.Duration) float64 {
	start, before := time.Now(), p.bytes.Load()
	time.Sleep(span)
	return float64(p.bytes.Load()-before) * 8 / time.Since(start).Seconds()
}

// address is where b listens.
func (p *pacedTunnel) address() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), p.b.ListenPort())
}

// flood sends messages from many sockets, as fast as floodRate and the machine
// allow, and counts what comes back.
type flood struct {
	sent, replies, replyBytes atomic.Int64
	ended                     atomic.Bool
	running                   sync.WaitGroup
	conns                     []*net.UDPConn
}

func startFlood(t *testing.T, to netip.AddrPort, msgs [][]byte) *flood {
	t.Helper()
	f := new(flood)
	for range floodSource {
		c := loopbackUDP(t)
		f.conns = append(f.conns, c)
		f.running.Go(func() {
			b := make([]byte, largeBuffer)
			for {
				n, _, err := c.ReadFromUDPAddrPort(b)
				if err != nil {
					return
				}
				f.replies.Add(1)
				f.replyBytes.Add(int64(n))
			}
		})
	}
	f.running.Go(func() {
		const burst = floodRate / 1000
		next := time.Now()
		for i := 0; !f.ended.Load(); i++ {
			for j := range burst {
				n := i*burst + j
				if _, err := f.conns[n%floodSource].WriteToUDPAddrPort(msgs[n%len(msgs)], to); err == nil {
					f.sent.Add(1)
				}
			}
			next = next.Add(time.Millisecond)
			wait := time.Until(next)
			if wait < -10*time.Millisecond {
				next = time.Now()
			}
			time.Sleep(wait)
		}
	})
	t.Cleanup(f.stop)
	return f
}

func (f *flood) stop() {
	f.ended.Store(true)
	time.Sleep(10 * time.Millisecond) // the last replies
	for _, c := range f.conns {
		c.Close()
	}
	f.running.Wait()
}

func loopbackUDP(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// forgeries are initiations by strangers, all different.
func forgeries(t *testing.T, d *side, n int) [][]byte {
	t.Helper()
	msgs := make([][]byte, n)
	for i := range msgs {
		msgs[i] = forged(t, d.private.Public())
	}
	return msgs
}

// wantFlat fails the test when the heap grew by more than a mebibyte.
func wantFlat(t *testing.T, before uint64) {
	t.Helper()
	grown := int64(liveHeap()) - int64(before)
	t.Logf("the heap grew by %d KiB", grown>>10)
	if grown > 1<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

// TestW6FloodWithoutMAC1: forged initiations from many sources, without a
// valid mac1, beside a tunnel that is in use. They cost no Diffie-Hellman
// computation, get no answer and leave nothing behind. What share of its rate
// the tunnel keeps is printed; 90 % is the aim.
func TestW6FloodWithoutMAC1(t *testing.T) {
	p := newPacedTunnel(t)
	msgs := forgeries(t, p.b, 64)
	for _, m := range msgs {
		m[message.InitiationSize-message.MACSize-1] ^= 1
	}
	time.Sleep(100 * time.Millisecond)
	heap := liveHeap()
	quiet := p.rate(floodQuiet)
	f := startFlood(t, p.address(), msgs)
	start := time.Now()
	loaded := p.rate(floodLasts)
	f.stop()
	took := time.Since(start).Seconds()

	drops := p.b.Drops()
	t.Logf("the tunnel kept %.0f %% of %.0f Mbit/s; %.0f initiations a second, %.0f read", 100*loaded/quiet, quiet/1e6,
		float64(f.sent.Load())/took, float64(drops["mac1"])/took)
	if drops["mac1"] == 0 || f.replies.Load() != 0 {
		t.Errorf("dropped %v, %d replies, want silence for a wrong mac1", drops, f.replies.Load())
	}
	for reason := range drops {
		if reason != "mac1" {
			t.Errorf("dropped %v, want nothing that got past mac1", drops)
		}
	}
	if loaded == 0 {
		t.Error("nothing went through the tunnel")
	}
	wantFlat(t, heap)
}

// TestW7FloodWithMAC1: the same by one who knows our public key. Load is
// noticed, strangers get cookies, which are smaller than what asked for them,
// one who uses his is held to its rate, and a peer without a session gets one
// in the middle of it. The aim for the tunnel is 80 %.
func TestW7FloodWithMAC1(t *testing.T) {
	private := ephemeralKey(t)
	p := newPacedTunnel(t, PeerChange{PeerChange: engine.PeerChange{PublicKey: private.Public()}})
	msgs := forgeries(t, p.b, 256)
	time.Sleep(100 * time.Millisecond)
	heap := liveHeap()
	quiet := p.rate(floodQuiet)
	f := startFlood(t, p.address(), msgs)
	start := time.Now()
	connected := make(chan time.Duration, 1)
	f.running.Go(func() { connected <- dialUnderLoad(t, newSpeaker(t, private, p.b.private.Public(), p.b.clock), p.address()) })
	loaded := p.rate(floodLasts)
	t.Logf("the peer's handshake took %v", <-connected)
	f.stop()
	took := time.Since(start).Seconds()

	drops := p.b.Drops()
	t.Logf("the tunnel kept %.0f %% of %.0f Mbit/s; %.0f initiations a second, %.0f read", 100*loaded/quiet, quiet/1e6,
		float64(f.sent.Load())/took, float64(drops["cookie"]+drops["unknown-peer"])/took)
	if drops["cookie"] == 0 || drops["unknown-peer"]*8 > drops["cookie"] {
		t.Errorf("dropped %v, want load noticed and strangers sent cookies", drops)
	}
	if drops["mac1"]+drops["invalid"]+drops["replay"] != 0 {
		t.Errorf("dropped %v, want nothing refused that was in order", drops)
	}
	if f.replies.Load() == 0 || f.replyBytes.Load() != f.replies.Load()*message.CookieReplySize {
		t.Errorf("%d replies of %d bytes in all, want cookie replies", f.replies.Load(), f.replyBytes.Load())
	}
	if out, in := f.replyBytes.Load(), f.sent.Load()*message.InitiationSize; out > in {
		t.Errorf("%d bytes sent for %d that came", out, in)
	}
	if loaded == 0 {
		t.Error("nothing went through the tunnel")
	}
	wantFlat(t, heap)
}

// dialUnderLoad makes a session as a peer does that uses the cookie it gets at
// once, and returns how long that took.
func dialUnderLoad(t *testing.T, s *speaker, to netip.AddrPort) time.Duration {
	start, c, b := time.Now(), loopbackUDP(t), make([]byte, message.InitiationSize)
	for time.Since(start) < 20*time.Second {
		if _, err := c.WriteToUDPAddrPort(s.initiation(), to); err != nil {
			t.Error(err)
			return 0
		}
		_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // it may be lost
		n, err := c.Read(b)
		if err != nil {
			continue
		}
		if reply, ok := message.ParseCookieReply(b[:n]); ok {
			s.signer.Accept(s.clock().Boot, s.remote, &reply)
			continue
		}
		s.finish(b[:n])
		_, _ = c.WriteToUDPAddrPort(s.data(nil), to)
		return time.Since(start)
	}
	t.Error("the peer's handshake did not end in 20 s")
	return 0
}
