package engine

import (
	"testing"

	"github.com/wimble-proxy/wimble/wireguard/message"
)

// TestNoAllocations: a data packet costs none, on its way out and on its way
// in, whether it comes alone or in a run.
func TestNoAllocations(t *testing.T) {
	const size, run = 1420, 44
	_, a, b := met(t, 1)
	p, q := a.peer(b), b.peer(a)
	packet := packet4(a.ip4(), b.ip4(), size, 1)
	slots := make([][]byte, run)
	for i := range slots {
		slots[i] = make([]byte, SealedSize(size, 0))
	}
	opened := make([]Opened, 0, run)
	var out Output
	now, from := a.time(), Endpoint{Addr: a.addr}
	delivered := 0

	send := func(n int) {
		p := a.engine.Route(b.ip4())
		k := p.SendKey(now.Boot)
		first, ok := k.Reserve(n)
		if !ok {
			t.Fatal("no nonces")
		}
		for i := range n {
			copy(slots[i][message.DataHeaderSize:], packet)
			k.Seal(slots[i], first+uint64(i))
		}
		p.Sent(now, k, n*len(slots[0]), &out)
		out.Reset()
	}
	receive := func(n int) {
		opened = opened[:0]
		var k *Keypair
		for i := range n {
			k = b.engine.Find(message.DataReceiver(slots[i]))
			o, why := k.Open(now.Boot, slots[i])
			if why != DropNone {
				t.Fatal(why)
			}
			opened = append(opened, o)
		}
		k.Commit(now, from, opened, &out)
		for i := range opened {
			if b.engine.Police(k.Peer(), opened[i].Packet) != nil {
				delivered++
			}
		}
		out.Reset()
	}
	send(run)
	receive(run) // the Output has its memory now
	for _, n := range []int{1, run} {
		if got := testing.AllocsPerRun(100, func() { send(n) }); got != 0 {
			t.Errorf("%v allocations to send %d packets", got, n)
		}
	}
	for _, n := range []int{1, run} {
		if got := testing.AllocsPerRun(100, func() { send(n); receive(n) }); got != 0 {
			t.Errorf("%v allocations to send and receive %d packets", got, n)
		}
	}
	if want := run + 101 + 101*run; delivered != want {
		t.Errorf("%d packets arrived, want %d", delivered, want)
	}
	if p.sent.Load() == 0 || q.received.Load() == 0 {
		t.Error("nothing was counted")
	}
}
