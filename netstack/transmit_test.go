package netstack

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// recorder is a link that keeps what it is sent.
type recorder struct {
	pool wireguard.Pool

	mu      sync.Mutex // for tests whose senders they don't join
	packets []recorded
	batches int
}

type recorded struct {
	route wireguard.Route
	bytes string
}

func (*recorder) MTU() int { return wireguard.DefaultMTU }

func (*recorder) Route(netip.Addr) (wireguard.Route, error) { return wireguard.Route{}, nil }

func (r *recorder) NewBatch(to wireguard.Route, size int) *wireguard.Batch {
	return r.pool.New(to, size, wireguard.DefaultMTU)
}

func (r *recorder) Send(b *wireguard.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches++
	for i := range b.Len() {
		r.packets = append(r.packets, recorded{b.Route(), string(b.Packet(i))})
	}
	b.Release()
}

// take returns what was sent since the last call.
func (r *recorder) take() []recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	packets := r.packets
	r.packets = nil
	return packets
}

// routes returns n different routes.
func routes(t *testing.T, n int) []wireguard.Route {
	c := wireguard.Config{Deliver: func([][]byte) {}}
	for i := range n {
		var p wireguard.PeerChange
		p.PublicKey = key.PublicFrom([32]byte{byte(i + 1)})
		p.AllowedIPs = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}), 32)}
		p.Endpoint = new(netip.AddrPort)
		*p.Endpoint = netip.MustParseAddrPort("192.0.2.1:51820")
		c.Peers = append(c.Peers, p)
	}
	c.PrivateKey = key.PrivateFrom([32]byte{99})
	d, err := wireguard.New(c)
	if err != nil {
		t.Fatal(err)
	}
	var routes []wireguard.Route
	for i := range n {
		r, err := d.Route(netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}))
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, r)
	}
	return routes
}

// hold has a queue take packets as if the link had one.
func hold(q *queue) { q.sending = true }

// let ends it.
func let(q *queue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sending = false
	q.work.Signal()
}

// fill returns what writes text into a packet.
func fill(text []byte) func([]byte) { return func(b []byte) { copy(b, text) } }

func TestQueueMerges(t *testing.T) {
	to := routes(t, 3)
	r := &recorder{}
	q := newQueue(r, new(counters))
	hold(q)
	want := map[wireguard.Route][]string{}
	for i := range 60 {
		text := binary.BigEndian.AppendUint32(make([]byte, 36), uint32(i))
		route := to[i%len(to)]
		want[route] = append(want[route], string(text))
		if !q.add(route, len(text), fill(text)) {
			t.Fatal("not taken")
		}
	}
	q.close()
	let(q)
	q.run()
	if r.batches != len(to) {
		t.Errorf("%d batches for %d routes", r.batches, len(to))
	}
	check(t, r, want)
}

// check compares the packets of each route, in their order.
func check(t *testing.T, r *recorder, want map[wireguard.Route][]string) {
	t.Helper()
	for _, p := range r.packets {
		w := want[p.route]
		if len(w) == 0 || w[0] != p.bytes {
			t.Fatal("a packet is not the next of its route")
		}
		want[p.route] = w[1:]
	}
	for _, w := range want {
		if len(w) > 0 {
			t.Errorf("%d packets are missing", len(w))
		}
	}
}

// Packets of any size keep their order, and none is lost, while the queue
// empties and fills.
func TestQueueKeepsOrder(t *testing.T) {
	const seed = 1
	to := routes(t, 3)
	for round := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, round))
		stats := new(counters)
		r := &recorder{}
		q := newQueue(r, stats)
		var sent sync.WaitGroup
		sent.Go(q.run)
		want := map[wireguard.Route][]string{}
		for i := range 3000 {
			text := make([]byte, 20+random.IntN(1400))
			binary.BigEndian.PutUint32(text, uint32(i))
			route := to[random.IntN(len(to))]
			want[route] = append(want[route], string(text))
			taken := false
			if random.IntN(4) == 0 {
				b := r.NewBatch(route, len(text))
				copy(b.Add(len(text)), text)
				taken = q.put(b, len(text))
			} else {
				taken = q.add(route, len(text), fill(text))
			}
			if !taken {
				t.Fatalf("seed %d, round %d: packet %d not taken", seed, round, i)
			}
		}
		q.close()
		sent.Wait()
		check(t, r, want)
		if stats.transmitPackets.Load() != 3000 || stats.transmitDrops.Load() != 0 || q.bytes != 0 || len(q.open) != 0 {
			t.Errorf("seed %d, round %d: %d packets counted, %d dropped, %d bytes and %d batches left",
				seed, round, stats.transmitPackets.Load(), stats.transmitDrops.Load(), q.bytes, len(q.open))
		}
	}
}

func TestQueueIsBounded(t *testing.T) {
	to := routes(t, 2)
	for _, c := range []struct {
		name  string
		add   func(*queue, int)
		limit int
	}{
		{"by batches", func(q *queue, i int) { q.add(to[i%2], 16+16*i, func([]byte) {}) }, maxQueuedBatches},
		{"by bytes", func(q *queue, i int) { q.add(to[0], 1420, func([]byte) {}) }, maxQueuedBytes/1420 + 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			stats := new(counters)
			q := newQueue(&recorder{}, stats)
			hold(q)
			for i := range c.limit {
				c.add(q, i)
			}
			if stats.transmitWaits.Load() != 0 || !q.full() {
				t.Fatalf("after %d packets: waited %d times, full: %v", c.limit, stats.transmitWaits.Load(), q.full())
			}
			// The next one waits until there is room again.
			added := make(chan struct{})
			go func() {
				c.add(q, c.limit)
				close(added)
			}()
			for stats.transmitWaits.Load() == 0 {
				select {
				case <-added:
					t.Fatal("a full queue took a packet")
				default:
				}
			}
			var sent sync.WaitGroup
			sent.Go(q.run)
			let(q)
			<-added
			q.close()
			sent.Wait()
			if n := stats.transmitPackets.Load(); n != uint64(c.limit+1) || stats.transmitDrops.Load() != 0 {
				t.Errorf("%d packets sent, %d dropped", n, stats.transmitDrops.Load())
			}
		})
	}
}

func TestQueueEnds(t *testing.T) {
	stats := new(counters)
	r := &recorder{}
	q := newQueue(r, stats)
	hold(q)
	for i := range maxQueuedBatches {
		q.add(wireguard.Route{}, 16+16*i, func([]byte) {}) // each too long for the batch before
	}
	ended := make(chan bool)
	go func() { ended <- q.add(wireguard.Route{}, 1400, func([]byte) {}) }()
	for stats.transmitWaits.Load() == 0 {
		select {
		case <-ended:
			t.Fatal("a full queue did not let wait")
		default:
		}
	}
	q.close()
	if <-ended {
		t.Error("a packet was taken without room")
	}
	let(q)
	q.run()
	if len(r.packets) != maxQueuedBatches {
		t.Errorf("%d packets were sent of %d", len(r.packets), maxQueuedBatches)
	}
	if q.add(wireguard.Route{}, 20, func([]byte) {}) || q.put(r.NewBatch(wireguard.Route{}, 20), 20) {
		t.Error("a closed queue took something")
	}
	if q := newQueue(r, stats); q.add(wireguard.Route{}, 66000, func([]byte) {}) {
		t.Error("a packet was taken that no batch can hold")
	}
}

// slowLink is a recorder that is told when to go on with each batch.
type slowLink struct {
	recorder
	began, goOn chan struct{}
}

func (l *slowLink) Send(b *wireguard.Batch) {
	l.began <- struct{}{}
	<-l.goOn
	l.recorder.Send(b)
}

// TestQueueSendsAtOnce: a small packet alone is sent by who has it, and what
// comes meanwhile goes behind it, in one batch; a large one is left to run.
func TestQueueSendsAtOnce(t *testing.T) {
	to := routes(t, 1)[0]
	l := &slowLink{began: make(chan struct{}), goOn: make(chan struct{})}
	q := newQueue(l, new(counters))
	var running sync.WaitGroup
	running.Go(func() { q.add(to, 40, fill([]byte("first"))) }) // nobody runs the queue
	<-l.began
	texts := []string{"second", "third"}
	for _, text := range texts {
		if !q.add(to, 40, fill([]byte(text))) {
			t.Fatal("not taken")
		}
	}
	l.goOn <- struct{}{}
	running.Wait()
	running.Go(q.run)
	<-l.began
	q.add(to, 40, fill([]byte("fourth")))
	l.goOn <- struct{}{}
	<-l.began
	l.goOn <- struct{}{}
	if !q.add(to, 1420, fill([]byte("large"))) {
		t.Fatal("not taken")
	}
	<-l.began // by run: nobody else is left
	l.goOn <- struct{}{}
	q.close()
	running.Wait()
	var got []string
	for _, p := range l.packets {
		got = append(got, strings.TrimRight(p.bytes, "\x00"))
	}
	if want := []string{"first", "second", "third", "fourth", "large"}; !slices.Equal(got, want) || l.batches != 4 {
		t.Errorf("%d batches of %q, want 4 of %q", l.batches, got, want)
	}
}
