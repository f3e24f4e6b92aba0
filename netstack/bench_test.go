package netstack

import (
	"bytes"
	"io"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// benchSegments are as many segments as a batch holds, of benchData bytes each:
// with their headers, packets of the usual MTU.
const (
	benchSegments = 44
	benchData     = wireguard.DefaultMTU - header.IPv4MinimumSize - header.TCPMinimumSize - 12
)

// BenchmarkSegment cuts a burst of the stack into 44 packets, checksums and
// all.
func BenchmarkSegment(b *testing.B) {
	pkt := burst(left4, right4, header.TCPFlagAck, benchData, true, noise(1, benchSegments*benchData))
	defer pkt.DecRef()
	packet := make([]byte, wireguard.DefaultMTU)
	b.SetBytes(benchSegments * benchData)
	b.ReportAllocs()
	for b.Loop() {
		var s segmenter
		s.init(pkt)
		for n := s.next(); n > 0; n = s.next() {
			s.write(packet[:n])
		}
	}
}

// BenchmarkCoalesce verifies 44 packets and merges them into one, as the stack
// is given it.
func BenchmarkCoalesce(b *testing.B) {
	e := newEndpoint(&wire{mtu: wireguard.DefaultMTU})
	given := 0
	c := &coalescer{stats: &e.stats, hand: func(_ *inbound, pkt *stack.PacketBuffer) {
		given++
		pkt.DecRef()
	}}
	var packets [][]byte
	for i := range uint32(benchSegments) {
		packets = append(packets, tcpOf(false, i*benchData, 1, bytes.Repeat([]byte{byte(i)}, benchData), timestamp, nil))
	}
	b.SetBytes(benchSegments * benchData)
	b.ReportAllocs()
	rounds := 0
	for b.Loop() {
		rounds++
		for _, p := range packets {
			c.in = e.inspect(p)
			c.add(&c.in)
		}
		c.flush()
	}
	if given != rounds {
		b.Fatalf("the stack was given %d packets in %d rounds", given, rounds)
	}
}

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
