package engine

import (
	"sync"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// TestReserve: nonces up to Reject-After-Messages and none beyond, whole runs
// or nothing.
func TestReserve(t *testing.T) {
	const r = RejectAfterMessages
	for _, row := range []struct {
		counter uint64
		n       int
		want    bool
		reason  string
	}{
		{0, 1, true, "the first"},
		{0, 64, true, "a run"},
		{1 << 60, 64, true, "Rekey-After-Messages is no limit here"},
		{r - 1, 1, true, "the last"},
		{r - 1, 2, false, "one too many"},
		{r - 64, 64, true, "a run up to the last"},
		{r - 64, 65, false, "a run of one too many"},
		{r, 1, false, "none is left"},
		{r, 64, false, "none is left"},
		{1<<64 - 1, 1, false, "would wrap"},
		{1<<64 - 1, 1 << 30, false, "would wrap by far"},
	} {
		k := new(Keypair)
		k.counter.Store(row.counter)
		first, ok := k.Reserve(row.n)
		if ok != row.want || ok && first != row.counter {
			t.Errorf("%d from %d: %d, %t: %s", row.n, row.counter, first, ok, row.reason)
		}
		want := row.counter
		if row.want {
			want += uint64(row.n)
		}
		if got := k.counter.Load(); got != want {
			t.Errorf("%d from %d: the counter is %d, want %d", row.n, row.counter, got, want)
		}
	}
}

// TestReserveConcurrently: whoever reserves at the same time gets other
// nonces, up to the limit, and none is left out.
func TestReserveConcurrently(t *testing.T) {
	const (
		workers, rounds = 8, 2000
		start           = RejectAfterMessages - workers*rounds*4
	)
	k := new(Keypair)
	k.counter.Store(start)
	taken := make([][]uint64, workers)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := range rounds * 2 {
				n := 1 + (i+w)%7
				if first, ok := k.Reserve(n); ok {
					for j := range n {
						taken[w] = append(taken[w], first+uint64(j))
					}
				}
			}
			for {
				first, ok := k.Reserve(1)
				if !ok {
					return
				}
				taken[w] = append(taken[w], first)
			}
		})
	}
	group.Wait()
	seen := make([]bool, workers*rounds*4)
	count := 0
	for _, nonces := range taken {
		for _, nonce := range nonces {
			if nonce < start || nonce >= RejectAfterMessages || seen[nonce-start] {
				t.Fatalf("nonce %d was given twice, or is beyond the limit", nonce)
			}
			seen[nonce-start] = true
			count++
		}
	}
	if count != len(seen) {
		t.Errorf("%d nonces were given, want all %d", count, len(seen))
	}
}

// TestCounterLimits is row W18 of the faults: at 2^60 there is a rekey, by
// either side; at the limit nothing is sent or accepted any more.
func TestCounterLimits(t *testing.T) {
	for _, responder := range []bool{false, true} {
		l, a, b := met(t, 1)
		if responder {
			a, b = b, a
		}
		a.trace = nil
		l.run(10 * time.Second)
		k := a.peer(b).current.Load()
		k.counter.Store(RekeyAfterMessages - 1)
		l.hold()
		a.send(b)
		a.expect("2^60 messages are still allowed", "10s data")
		a.send(b)
		a.expect("one more asks for a new session", "10s data", "10s initiation")

		k.counter.Store(RejectAfterMessages - 1)
		a.send(b)
		a.expect("the last", "10s data")
		a.send(b)
		a.expect("none is left: data waits")
		if a.peer(b).SendKey(l.now) != nil || k.counter.Load() != RejectAfterMessages {
			t.Error("the session can still be sent with")
		}
		for range 3 {
			l.pass(a, "data")
		}
		b.expectDelivered(a, 3)
		l.pass(a, "initiation")
		l.pass(b, "response")
		l.pass(a, "data")
		b.expectDelivered(a, 4)
	}
}

// TestReceiveLimit: a counter at the limit or beyond is refused although it is
// authentic, and does not move the window.
func TestReceiveLimit(t *testing.T) {
	for _, row := range []struct {
		counter uint64
		want    Drop
	}{
		{RejectAfterMessages, DropCommit},
		{RejectAfterMessages + 1, DropCommit},
		{1<<64 - 1, DropCommit},
		{RejectAfterMessages - 1, DropNone},
	} {
		l, a, b := met(t, 1)
		msg := a.sealedWith(b, row.counter)
		b.receive(Endpoint{Addr: a.addr}, msg)
		b.expectDrops(DropCommit, boolCount(row.want == DropCommit))
		b.expectDelivered(a, int(boolCount(row.want == DropNone)))
		if row.want == DropCommit {
			a.send(b)
			l.run(0)
			b.expectDelivered(a, 1)
		}
	}
}

func boolCount(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// sealedWith is a packet for m, sealed by n's session with any counter.
func (n *node) sealedWith(m *node, counter uint64) []byte {
	packet := packet4(n.ip4(), m.ip4(), 32, n.watch.id())
	slot := make([]byte, SealedSize(len(packet), 0))
	copy(slot[message.DataHeaderSize:], packet)
	n.peer(m).current.Load().Seal(slot, counter)
	return slot
}

// TestForgedCounters: the window is shown authentic counters only. Forged high
// ones do not move it, and a forged copy does not use its counter up.
func TestForgedCounters(t *testing.T) {
	_, a, b := met(t, 1)
	true1 := a.sealedWith(b, 1)
	for _, counter := range []uint64{1, 2, WindowSize * 2, 1 << 60, RejectAfterMessages - 1} {
		forged := clone(true1)
		message.PutDataHeader(forged, message.DataReceiver(forged), counter)
		forged[len(forged)-1] ^= 1
		b.receive(Endpoint{Addr: a.addr}, forged)
	}
	b.expectDrops(DropOpen, 5)
	b.receive(Endpoint{Addr: a.addr}, clone(true1))
	b.expectDelivered(a, 1)
	b.receive(Endpoint{Addr: a.addr}, clone(true1))
	b.expectDelivered(a, 1)
	b.expectDrops(DropCommit, 1)
}

// TestCommitRun: of a run that was opened together, each counter is taken once,
// and what is refused is nil afterwards.
func TestCommitRun(t *testing.T) {
	_, a, b := met(t, 1)
	k := b.peer(a).current.Load()
	open := func(counter uint64) Opened {
		opened, why := k.Open(0, a.sealedWith(b, counter))
		if why != DropNone {
			t.Fatal(why)
		}
		return opened
	}
	run := []Opened{open(5), open(3), open(5), open(4), open(3), open(RejectAfterMessages)}
	k.Commit(b.time(), Endpoint{Addr: a.addr}, run, &b.out)
	b.settle()
	for i, want := range []bool{true, true, false, true, false, false} {
		if got := run[i].Packet != nil; got != want {
			t.Errorf("message %d with counter %d committed %t, want %t", i, run[i].Counter, got, want)
		}
	}
	b.expectDrops(DropCommit, 3)

	// A session that is gone meanwhile commits nothing.
	run = []Opened{open(6), open(7)}
	b.restart()
	k.Commit(b.time(), Endpoint{Addr: a.addr}, run, &b.out)
	b.settle()
	if run[0].Packet != nil || run[1].Packet != nil {
		t.Error("a session that was freed committed")
	}
	b.expectDrops(DropRemoved, 2)
	b.expect("silence")
}

// TestSealAndOpenInPlace: neither moves the packet.
func TestSealAndOpenInPlace(t *testing.T) {
	keys := handshake.Keys{Send: [32]byte{1}, Receive: [32]byte{1}}
	k := newKeypair(nil, &keys, 5, 5, true, 0)
	if keys != (handshake.Keys{}) {
		t.Error("the handshake's keys were not wiped")
	}
	slot := make([]byte, 16+32+16)
	copy(slot[16:], "thirty-two bytes of a plaintext.")
	k.Seal(slot, 1<<40)
	if message.DataReceiver(slot) != 5 || message.DataCounter(slot) != 1<<40 {
		t.Error("the header is not that of the session")
	}
	opened, why := k.Open(0, slot)
	if why != DropNone || string(opened.Packet) != "thirty-two bytes of a plaintext." || opened.Counter != 1<<40 {
		t.Fatalf("opened %q, %d, %v", opened.Packet, opened.Counter, why)
	}
	if &opened.Packet[0] != &slot[16] {
		t.Error("the plaintext was moved")
	}
}
