package interop

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

// eachDepth runs a test of a path to our engine, from either. The depth is how
// many datagrams in a row arrive in an order of chance; the replay window holds
// 8128.
func eachDepth(t *testing.T, depths []int, test func(t *testing.T, from implementation, depth int)) {
	eachImplementation(t, func(t *testing.T, from implementation) {
		for _, depth := range depths {
			t.Run(fmt.Sprint(depth), func(t *testing.T) { test(t, from, depth) })
		}
	})
}

// TestW20Datagrams: whatever the order, and though every tenth comes twice,
// each datagram is delivered once.
func TestW20Datagrams(t *testing.T) {
	t.Parallel()
	eachDepth(t, []int{2, 10, 100, 1000, 5000}, func(t *testing.T, from implementation, depth int) {
		// As fast as any socket buffer can take it.
		const size, perMillisecond = 128, 4
		there := path{reorder: depth, duplicate: 0.1, rate: perMillisecond * 1000 * (size + headerBytes)}
		c := unite(t, from, wimble, union{through: func(to netip.AddrPort) netip.AddrPort {
			return newRelay(t, to, there, path{}, faultSeed).addr()
		}})
		ping(t, c.from, toInside[0].Addr())
		countOnce(t, c, max(2*depth, 500), perMillisecond)
	})
}

// countOnce sends numbered datagrams and counts how often each arrives.
func countOnce(t *testing.T, c *couple, sent, perMillisecond int) {
	service, err := c.to.ListenPacket(t.Context(), "udp", at(toInside[0], 7))
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	conn, err := c.from.DialContext(t.Context(), "udp", at(toInside[0], 7))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	arrived := make(chan map[uint32]int)
	go func() { arrived <- hearNumbers(service, sent) }()
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	payload := make([]byte, 84-28)
	for i := range sent {
		binary.BigEndian.PutUint32(payload, uint32(i))
		if _, err := conn.Write(payload); err != nil {
			t.Fatal(err)
		}
		if i%perMillisecond == 0 {
			<-pace.C
		}
	}
	counts := <-arrived
	for number, count := range counts {
		if count != 1 {
			t.Errorf("datagram %d was delivered %d times (seed %d)", number, count, faultSeed)
		}
	}
	if len(counts) != sent {
		t.Errorf("%d of %d datagrams were delivered (seed %d)", len(counts), sent, faultSeed)
	}
}

// hearNumbers counts datagrams by their number, until all have come and no more
// do.
func hearNumbers(c net.PacketConn, all int) map[uint32]int {
	counts, buf := map[uint32]int{}, make([]byte, 1500)
	for {
		wait := patience / 4
		if len(counts) == all {
			wait = 10 * reorderWait
		}
		_ = c.SetReadDeadline(time.Now().Add(wait))
		if _, _, err := c.ReadFrom(buf); err != nil {
			return counts
		}
		counts[binary.BigEndian.Uint32(buf)]++
	}
}

// TestW20TCP: TCP gets through all that, in both directions.
func TestW20TCP(t *testing.T) {
	t.Parallel()
	eachDepth(t, []int{10, 1000, 5000}, func(t *testing.T, from implementation, depth int) {
		c := impaired(t, from, wimble, union{}, path{reorder: depth, duplicate: 0.1})
		exchange(t, c.from, c.to, at(toInside[0], 9), 256<<10)
	})
}
