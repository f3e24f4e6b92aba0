package engine

import (
	"bytes"
	"testing"
)

// TestOutputBuffers: what an Output hands out is zero, apart from the rest, and
// stays until Reset, also when the Output grows.
func TestOutputBuffers(t *testing.T) {
	var out Output
	for round := range 3 {
		var buffers [][]byte
		for i := range 200 {
			b := out.buffer(i)
			if len(b) != i || cap(b) != i || len(bytes.Trim(b, "\x00")) > 0 {
				t.Fatalf("round %d: buffer of %d bytes: %d of %d, %x", round, i, len(b), cap(b), b)
			}
			for j := range b {
				b[j] = byte(i + 1)
			}
			buffers = append(buffers, b)
		}
		for i, b := range buffers {
			if !bytes.Equal(b, bytes.Repeat([]byte{byte(i + 1)}, i)) {
				t.Fatalf("round %d: buffer %d was overwritten", round, i)
			}
		}
		out.Reset()
	}
}

// TestOutputReset: the memory is kept, up to a bound, and what was referred to
// is let go.
func TestOutputReset(t *testing.T) {
	var out Output
	p := new(Peer)
	out.Datagrams = append(out.Datagrams, Datagram{Bytes: out.buffer(100), Initiator: p})
	out.Initiate = append(out.Initiate, p)
	out.Rearm = append(out.Rearm, p)
	out.Events = append(out.Events, Event{Peer: p})
	kept := out.arena
	out.Reset()
	if len(out.Datagrams)+len(out.Initiate)+len(out.Rearm)+len(out.Events) != 0 {
		t.Error("something is left")
	}
	if out.Datagrams[:1][0].Initiator != nil || out.Datagrams[:1][0].Bytes != nil || out.Initiate[:1][0] != nil ||
		out.Rearm[:1][0] != nil || out.Events[:1][0].Peer != nil {
		t.Error("something is still referred to")
	}
	if &out.buffer(1)[0] != &kept[0] {
		t.Error("the memory was not kept")
	}
	out.buffer(maxArena + 1)
	out.Reset()
	if out.arena != nil {
		t.Errorf("%d bytes are kept, the bound is %d", cap(out.arena), maxArena)
	}
}
