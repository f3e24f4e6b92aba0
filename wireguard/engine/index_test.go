package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"
)

// fewIndices is a reader whose 4-byte draws, and so indices, are 0 to 3 only.
type fewIndices struct {
	drawn byte
	keys  io.Reader
}

func (f *fewIndices) Read(b []byte) (int, error) {
	if len(b) != 4 {
		return f.keys.Read(b)
	}
	f.drawn++
	binary.LittleEndian.PutUint32(b, uint32(f.drawn%4))
	return 4, nil
}

// TestIndexExhaustion is row W11 of the faults: with four indices in the
// world, a fifth handshake is refused, and no two things share an index.
func TestIndexExhaustion(t *testing.T) {
	l := newLab(t, 1)
	a := l.add(Config{Rand: &fewIndices{keys: l.source(1)}})
	for range 5 {
		b := l.add(Config{})
		a.knows(b)
		b.knows(a)
	}
	for _, b := range l.nodes[1:5] {
		a.greet(b)
		l.run(l.now + time.Second)
	}
	if n := a.engine.indices.size(); n != 4 {
		t.Fatalf("%d indices in use, want all 4, zero among them", n)
	}
	l.audit()
	a.trace = nil
	last := l.nodes[5]
	a.send(last)
	a.expect("no index, no initiation")
	a.expectDrops(DropRandom, 1)
	last.send(a)
	l.run(l.now + time.Second)
	a.expect("and no response")
	a.expectDrops(DropRandom, 2)

	// The same indices serve again when they are free.
	a.apply(Change{Peers: []PeerChange{{PublicKey: l.nodes[1].key.Public(), Remove: true}}})
	l.run(l.now + 10*time.Second)
	last.expectDelivered(a, 1)
	a.expectDelivered(last, 1)
}

// TestIndexZeroIsLegal: 0 is an index like any other, and not "none".
func TestIndexZeroIsLegal(t *testing.T) {
	for _, zeroAt := range []byte{3, 2} { // the first index is 0, or the second
		l := newLab(t, 1)
		a, b := l.add(Config{Rand: &fewIndices{drawn: zeroAt, keys: l.source(1)}}), l.add(Config{})
		a.knows(b)
		b.knows(a)
		for range 5 {
			a.send(b)
			b.send(a)
			l.run(l.now + RekeyAfterTime)
		}
		a.expectDelivered(b, 5)
		b.expectDelivered(a, 5)
		if a.engine.Drops()[DropFind] != 0 {
			t.Error("a session was not found")
		}
	}
}

// TestIndexUniform: indices tell nothing: all 256 values of the first byte
// come equally often, by a chi-squared test at 1 %.
func TestIndexUniform(t *testing.T) {
	const draws, parts = 102_400, 256
	var table indexTable
	e := New(Config{Rand: newLab(t, 1).source(1)})
	var counts [parts]int
	for range draws {
		i, ok := table.add(indexEntry{}, e.random32)
		if !ok {
			t.Fatal("no index")
		}
		counts[i>>24]++
		table.remove(i)
	}
	chi := 0.0
	for _, n := range counts {
		d := float64(n) - draws/parts
		chi += d * d / (draws / parts)
	}
	if chi > 310.5 { // the 99 % point for 255 degrees of freedom
		t.Errorf("chi squared is %.1f", chi)
	}
}

// TestRandomFails: without randomness no handshake is made and none answered;
// sessions go on, timers too, and it is all well when it returns.
func TestRandomFails(t *testing.T) {
	l := newLab(t, 1)
	random := &brokenReader{ok: l.source(1)}
	a, b := l.add(Config{Rand: random}), l.add(Config{})
	a.knows(b, keepalive(time.Second))
	b.knows(a)
	l.run(0)
	random.broken = true
	a.trace = nil
	for range 10 {
		a.send(b)
		b.send(a)
		l.run(l.now + time.Second)
	}
	b.expectDelivered(a, 10)
	a.expectDelivered(b, 10)
	l.run(RejectAfterTime)
	a.expectInitiations("none can be made")
	if a.engine.Drops()[DropRandom] == 0 {
		t.Error("no drop was counted")
	}
	before := a.engine.Drops()[DropRandom]
	b.send(a)
	l.run(l.now)
	if a.engine.Drops()[DropRandom] == before {
		t.Error("an initiation was not refused for the lack of randomness")
	}
	random.broken = false
	l.run(l.now + 7*time.Second)
	if a.peer(b).SendKey(l.now) == nil {
		t.Error("no session after randomness returned")
	}
}

type brokenReader struct {
	ok     io.Reader
	broken bool
}

func (r *brokenReader) Read(b []byte) (int, error) {
	if r.broken {
		return 0, errors.New("no randomness")
	}
	return r.ok.Read(b)
}

// TestIndexTable: what is set is found, what is removed is not, and an edit of
// what is not there changes nothing.
func TestIndexTable(t *testing.T) {
	var table indexTable
	draw := func(i uint32) func() (uint32, error) {
		var b [4]byte
		binary.LittleEndian.PutUint32(b[:], i)
		r := bytes.NewReader(bytes.Repeat(b[:], indexAttempts))
		return func() (uint32, error) {
			if _, err := io.ReadFull(r, b[:]); err != nil {
				return 0, err
			}
			return binary.LittleEndian.Uint32(b[:]), nil
		}
	}
	p, q := new(Peer), new(Peer)
	for _, i := range []uint32{0, 1, 256, 1<<32 - 1} { // two of one shard
		if got, ok := table.add(indexEntry{peer: p}, draw(i)); !ok || got != i {
			t.Fatalf("add gave %d, %t, want %d", got, ok, i)
		}
		if _, ok := table.add(indexEntry{peer: q}, draw(i)); ok {
			t.Errorf("index %d was given twice", i)
		}
		if table.find(i).peer != p {
			t.Errorf("index %d is not found", i)
		}
	}
	if table.size() != 4 {
		t.Errorf("%d indices, want 4", table.size())
	}
	table.remove(256)
	table.remove(256)
	table.remove(77)
	if table.find(256).peer != nil || table.find(0).peer != p || table.size() != 3 {
		t.Error("removing one index removed another, or not itself")
	}
	table.set(1, indexEntry{peer: q})
	if table.find(1).peer != q || table.size() != 3 {
		t.Error("set did not replace")
	}
}
