package netstack

import (
	"context"
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// tcpSegment is a TCP segment without options and data.
func tcpSegment(src, dst netip.AddrPort, flags header.TCPFlags, seq, ack uint32) []byte {
	s := header.TCP(make([]byte, header.TCPMinimumSize))
	s.Encode(&header.TCPFields{
		SrcPort: src.Port(), DstPort: dst.Port(), SeqNum: seq, AckNum: ack,
		DataOffset: header.TCPMinimumSize, Flags: flags, WindowSize: 1000,
	})
	return withChecksum(src.Addr(), dst.Addr(), s)
}

// withChecksum puts an IP header before a segment, and a checksum into it.
func withChecksum(src, dst netip.Addr, s header.TCP) []byte {
	s.SetChecksum(0)
	pseudo := header.PseudoHeaderChecksum(header.TCPProtocolNumber, stackAddr(src), stackAddr(dst), uint16(len(s)))
	s.SetChecksum(^checksum.Checksum(s, pseudo))
	return ipPacket(src, dst, header.TCPProtocolNumber, s)
}

// TestN2 has SYNs that negotiate ECN, and a peer that takes its SYN back.
func TestN2(t *testing.T) {
	t.Run("ECN", func(t *testing.T) {
		accept, flows := handOver(t)
		p := newGateway(t, Options{Accept: accept})
		edited := false
		p.fromLeft.set(func() {
			p.fromLeft.edit = func(packet []byte) []byte {
				s := header.TCP(packet[ipHeader(packet):])
				if s.Flags() != header.TCPFlagSyn {
					return packet
				}
				edited = true
				s.SetFlags(0xc2) // CWR, ECE and SYN
				return withChecksum(left4, foreign4, s)
			}
		})
		result := p.dial(t.Context(), "tcp", netip.AddrPortFrom(foreign4, 80))
		here, err := (<-flows).Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer here.Close()
		there := <-result
		if there.err != nil {
			t.Fatal(there.err)
		}
		defer there.conn.Close()
		carries(t, there.conn, here, 1)
		p.fromLeft.set(func() {
			if !edited {
				t.Error("no SYN was seen")
			}
		})
	})
	t.Run("SYN, SYN-ACK, RST", func(t *testing.T) {
		accept, flows := handOver(t)
		p := newGateway(t, Options{Accept: accept})
		sent := p.fromRight.capture()
		src, dst := netip.AddrPortFrom(left4, 1234), netip.AddrPortFrom(foreign4, 80)
		begin := func(seq uint32) (accepted chan error, answer header.TCP) {
			p.right.deliver([][]byte{tcpSegment(src, dst, header.TCPFlagSyn, seq, 0)})
			f := <-flows
			accepted = make(chan error, 1)
			go func() {
				c, err := f.Accept()
				if c != nil {
					defer c.Close()
				}
				accepted <- err
			}()
			packet := <-sent
			return accepted, header.TCP(packet[ipHeader(packet):])
		}
		for seq := uint32(100); seq < 300; seq += 100 {
			accepted, _ := begin(seq)
			p.right.deliver([][]byte{tcpSegment(src, dst, header.TCPFlagRst, seq+1, 0)})
			if err := <-accepted; !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("Accept: %v; want ECONNREFUSED", err)
			}
			p.settled()
		}
		accepted, answer := begin(300)
		p.right.deliver([][]byte{tcpSegment(src, dst, header.TCPFlagAck, 301, answer.SequenceNumber()+1)})
		if err := <-accepted; err != nil {
			t.Errorf("the same ports again: %v", err)
		}
		p.right.deliver([][]byte{tcpSegment(src, dst, header.TCPFlagRst, 301, 0)}) // or Close waits for this peer
	})
}

// TestFlowWithoutAWayBack has a peer whose endpoint gets lost while its flow is
// accepted: that fails at once.
func TestFlowWithoutAWayBack(t *testing.T) {
	for _, c := range []struct {
		addr, peer netip.Addr
		route      error
		want       error
	}{
		{foreign4, left4, wireguard.ErrNoPeer, syscall.ENETUNREACH},
		{foreign6, left6, wireguard.ErrNoEndpoint, syscall.EHOSTUNREACH},
	} {
		accept, flows := handOver(t)
		p := newGateway(t, Options{Accept: accept})
		ctx, cancel := context.WithCancel(t.Context())
		result := p.dial(ctx, "tcp", netip.AddrPortFrom(c.addr, 80))
		f := <-flows
		p.fromRight.set(func() { p.fromRight.refuse[c.peer] = c.route })
		if _, err := f.Accept(); !errors.Is(err, c.want) {
			t.Errorf("Accept: %v; want %v", err, c.want)
		}
		cancel()
		<-result
	}
}

// TestNotASYN has segments that begin no connection: they are reset, unless
// they are resets.
func TestNotASYN(t *testing.T) {
	const seq, ack, rst = 1000, 2000, header.TCPFlagRst
	for _, c := range []struct {
		flags, answer    header.TCPFlags // no answer: 0
		wantSeq, wantAck uint32
	}{
		{header.TCPFlagAck, rst, ack, 0},
		{header.TCPFlagFin | header.TCPFlagAck, rst, ack, 0},
		{header.TCPFlagSyn | header.TCPFlagAck, rst, ack, 0},
		{header.TCPFlagSyn | header.TCPFlagFin, rst | header.TCPFlagAck, 0, seq + 2},
		{header.TCPFlagFin, rst | header.TCPFlagAck, 0, seq + 1},
		{0, rst | header.TCPFlagAck, 0, seq},
		{rst, 0, 0, 0},
		{header.TCPFlagSyn | rst, 0, 0, 0},
		{header.TCPFlagAck | rst, 0, 0, 0},
	} {
		for _, addrs := range [][2]netip.Addr{{left4, foreign4}, {left6, foreign6}} {
			p := newGateway(t, Options{Accept: func(_ context.Context, f Flow) {
				t.Errorf("%v: a flow to %v", c.flags, f.Destination())
			}})
			sent := p.fromRight.capture()
			src, dst := netip.AddrPortFrom(addrs[0], 1234), netip.AddrPortFrom(addrs[1], 80)
			p.right.deliver([][]byte{tcpSegment(src, dst, c.flags, seq, ack)})
			if c.answer == 0 {
				p.right.Close() // sends what there is
				if n := p.right.Stats().TransmitPackets; n != 0 {
					t.Errorf("%v: %d packets were sent; want none", c.flags, n)
				}
				continue
			}
			answer := <-sent
			if in := p.left.nic.inspect(answer); in.verdict != verified {
				t.Errorf("%v: the answer's checksums are wrong: % x", c.flags, answer)
			}
			r := header.TCP(answer[ipHeader(answer):])
			if r.Flags() != c.answer || r.SequenceNumber() != c.wantSeq || r.AckNumber() != c.wantAck ||
				r.SourcePort() != dst.Port() || r.DestinationPort() != src.Port() || destination(answer) != src.Addr() {
				t.Errorf("%v: the answer is % x; want %v with sequence number %d and acknowledgment %d", c.flags, answer, c.answer, c.wantSeq, c.wantAck)
			}
		}
	}
}
