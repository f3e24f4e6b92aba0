package forward

import (
	"io"
	"testing"
)

// BenchmarkRelay carries data from one connection to another, both of loopback:
// what the kernel takes for the two is a part of it. An iteration is 64 KiB.
func BenchmarkRelay(b *testing.B) {
	const size = 64 << 10
	client, nearClient := newTCPPair(b)
	target, nearTarget := newTCPPair(b)
	run := start(b.Context(), new(Relay), nearClient, nearTarget)
	done := make(chan error, 1)
	b.SetBytes(size)
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		buf := make([]byte, size)
		var err error
		for range b.N {
			if _, err = client.Write(buf); err != nil {
				break
			}
		}
		client.CloseWrite()
		done <- err
	}()
	if n, err := io.Copy(io.Discard, target); err != nil || n != int64(b.N)*size {
		b.Fatalf("%d bytes arrived, want %d: %v", n, int64(b.N)*size, err)
	}
	b.StopTimer()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	target.CloseWrite()
	<-run.done
	if run.err != nil {
		b.Fatal(run.err)
	}
}
