package netstack

import (
	"io"
	"testing"
	"time"
)

// TestStalledReaderStopsNobody: a connection whose reader went away fills its
// own buffers and waits, while another one and a ping beside it go on.
func TestStalledReaderStopsNobody(t *testing.T) {
	p := newPair(t)
	stalled, _ := p.connect(t, right4)
	busy, other := p.connect(t, right4)

	if err := stalled.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	n, err := stalled.Write(make([]byte, 64<<20))
	if err == nil {
		t.Fatalf("%d bytes were taken for a reader that reads none", n)
	}
	t.Logf("%d KiB were taken before the writer had to wait", n>>10)

	const size = 4 << 20
	written := make(chan error, 1)
	go func() {
		_, err := busy.Write(noise(1, size))
		written <- err
	}()
	if got, err := io.CopyN(io.Discard, other, size); got != size {
		t.Errorf("beside it %d bytes came, %v", got, err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	if _, err := p.left.Ping(t.Context(), right4); err != nil {
		t.Errorf("ping: %v", err)
	}
}
