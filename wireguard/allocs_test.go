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

// allocations is how often run allocates, on average, once it is warm. The race
// detector has pools drop a part of what they are given; then up to pooled
// allocations are none of run's own.
func allocations(run func(), pooled float64) float64 {
	n := testing.AllocsPerRun(200, run)
	if poolsLose() && n <= pooled {
		return 0
	}
	return n
}

func poolsLose() bool {
	var p sync.Pool
	for range 100 {
		p.Put(new(int))
		if p.Get() == nil {
			return true
		}
	}
	return false
}

// catchingConn gives what is written to catch, once that is set.
type catchingConn struct {
	PacketConn
	catch atomic.Pointer[func(b []byte)]
}

func (c *catchingConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if catch := c.catch.Load(); catch != nil {
		(*catch)(b)
		return len(b), nil
	}
	return c.PacketConn.WriteToUDPAddrPort(b, to)
}

// TestDataAllocatesNothing: a batch of full packets is sealed and sent, and
// received and delivered at the other end, without a single allocation, in
// both directions of a session.
func TestDataAllocatesNothing(t *testing.T) {
	const size, stride = DefaultMTU, DefaultMTU + message.DataMinSize
	var conns [2]*catchingConn
	var delivered [2]atomic.Int64
	sides := pairOf(t, newMemNet(), &testClock{start: time.Now()}, func(i int, c *Config) {
		conns[i] = new(catchingConn)
		c.Clock, c.OnEvent = nil, nil
		c.Deliver = func(packets [][]byte) { delivered[i].Add(int64(len(packets))) }
		c.ListenPacket = wrapped(c.ListenPacket, func(inner PacketConn) PacketConn {
			conns[i].PacketConn = inner
			return conns[i]
		})
	})
	run(t, sides[:]...)
	for i := range sides {
		<-sides[i].Ready()
	}
	sides[0].send(t, sides[1], 1, 84)
	waitFor(t, func() bool { return delivered[1].Load() == 1 })
	sides[1].send(t, sides[0], 1, 84)
	waitFor(t, func() bool { return delivered[0].Load() == 1 })

	pings := [2][]byte{packet(sides[0].inner, sides[1].inner, 84), packet(sides[1].inner, sides[0].inner, 84)}
	// An answer to every packet: both directions move the timers each time.
	var last []byte
	catch := func(b []byte) { last = append(last[:0], b...) }
	for _, c := range conns {
		c.catch.Store(&catch)
	}
	receivers := [2]receiver{{device: sides[0].Device}, {device: sides[1].Device}}
	answer := func() {
		for i, from := range sides {
			to := sides[1-i]
			route, _ := from.Route(to.inner)
			b := from.NewBatch(route, len(pings[i]))
			copy(b.Add(len(pings[i])), pings[i])
			from.Send(b)
			receivers[1-i].trains(to.clock(), []train{{datagrams: last, stride: len(last), from: engine.Endpoint{Addr: from.outer}}})
		}
	}
	if n := allocations(answer, 2); n != 0 {
		t.Errorf("a packet and its answer allocate %v times", n)
	}

	for i, from := range sides {
		to := sides[1-i]
		route, err := from.Route(to.inner)
		if err != nil {
			t.Fatal(err)
		}
		pattern := packet(from.inner, to.inner, size)
		batch := make([]byte, 0, maxBatchPackets*stride)
		catch := func(b []byte) { batch = append(batch, b...) }
		conns[i].catch.Store(&catch)
		send := func() {
			batch = batch[:0]
			b := from.NewBatch(route, size)
			for range maxBatchPackets {
				copy(b.Add(size), pattern)
			}
			from.Send(b)
		}
		if n := allocations(send, 1); n != 0 {
			t.Errorf("side %d: sending %d packets allocates %v times", i, maxBatchPackets, n)
		}
		r := receiver{device: to.Device}
		at := engine.Endpoint{Addr: from.outer}
		before := delivered[1-i].Load()
		rounds := int64(0)
		carry := func() {
			send()
			r.trains(to.clock(), []train{{datagrams: batch, stride: stride, from: at}})
			rounds++
		}
		if n := allocations(carry, 1); n != 0 {
			t.Errorf("side %d: carrying %d packets allocates %v times", i, maxBatchPackets, n)
		}
		if got := delivered[1-i].Load() - before; got != rounds*maxBatchPackets {
			t.Errorf("side %d: %d packets delivered, want %d", i, got, rounds*maxBatchPackets)
		}
		conns[i].catch.Store(nil)
	}
}

// TestJunkAllocatesNothing: what is dropped leaves nothing for the collector,
// up to the first MAC.
func TestJunkAllocatesNothing(t *testing.T) {
	private := ephemeralKey(t)
	d, err := New(Config{PrivateKey: private, Deliver: func([][]byte) {}})
	if err != nil {
		t.Fatal(err)
	}
	r := receiver{device: d}
	noSession := make([]byte, 1452)
	message.PutDataHeader(noSession, 7, 7)
	badMAC := forged(t, private.Public())
	badMAC[120] ^= 1
	for _, test := range []struct {
		name string
		msg  []byte
		most float64
	}{
		{"no message", make([]byte, 1452), 0},
		{"data without a session", noSession, 0},
		{"an initiation without a mac1", badMAC, 2}, // the hash
	} {
		got := allocations(func() {
			r.trains(engine.Time{}, []train{{datagrams: test.msg, stride: len(test.msg), from: engine.Endpoint{Addr: elsewhere}}})
		}, 0)
		t.Logf("%s: %v allocations", test.name, got)
		if got > test.most {
			t.Errorf("%s allocates %v times, want %v at most", test.name, got, test.most)
		}
	}
}

// TestSocketAllocatesNothing: nor do the sockets of the system.
func TestSocketAllocatesNothing(t *testing.T) {
	for _, family := range []struct{ network, host string }{{"udp4", "127.0.0.1"}, {"udp6", "[::1]"}} {
		a, b := loopbackSocket(t, family.network, family.host), loopbackSocket(t, family.network, family.host)
		to := engine.Endpoint{Addr: b.conn.LocalAddr().(*net.UDPAddr).AddrPort(), Source: a.conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()}
		train, next := make([]byte, 20*1452), receiving(t, b)
		carry := func() {
			if err := a.send(train, 1452, to); err != nil {
				t.Fatal(err)
			}
			for got := 0; got < len(train); {
				for _, r := range next() {
					got += len(r.datagrams)
				}
			}
		}
		if n := allocations(carry, 2); n != 0 {
			t.Errorf("%s: a train allocates %v times", family.network, n)
		}
	}
}
