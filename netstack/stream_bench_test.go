package netstack

import (
	"io"
	"testing"
)

// BenchmarkStream carries data from one stack to another over a link in memory:
// what both cost together, without encryption and sockets. An iteration is
// 64 KiB.
func BenchmarkStream(b *testing.B) {
	const size = 64 << 10
	for _, c := range []struct {
		name string
		bind func(p *pair) (write, read *TCPConn)
	}{
		{"IPv4", func(p *pair) (write, read *TCPConn) { return p.connect(b, right4) }},
		{"IPv6", func(p *pair) (write, read *TCPConn) { return p.connect(b, right6) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := newPair(b)
			write, read := c.bind(p)
			done := make(chan error, 1)
			b.SetBytes(size)
			b.ReportAllocs()
			b.ResetTimer()
			go func() {
				buf := make([]byte, size)
				var err error
				for range b.N {
					if _, err = write.Write(buf); err != nil {
						break
					}
				}
				done <- err
			}()
			if _, err := io.CopyN(io.Discard, onlyReader{read}, int64(b.N)*size); err != nil {
				b.Fatal(err)
			}
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			up, down := p.left.Stats(), p.right.Stats()
			b.ReportMetric(float64(up.TransmitPackets)/float64(b.N), "sent/op")
			b.ReportMetric(float64(down.DeliverPackets-down.CoalesceSegments)/float64(b.N), "given/op")
			b.ReportMetric(float64(up.DeliverPackets)/float64(b.N), "acks/op")
		})
	}
}

// onlyReader hides other methods.
type onlyReader struct{ io.Reader }
