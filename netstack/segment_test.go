package netstack

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// plain is an interface to which the stack gives segments one by one.
type plain struct{ *endpoint }

func (plain) SupportedGSO() stack.SupportedGSO { return stack.GSONotSupported }

// makePlain puts a plain interface in the place of n's own.
func makePlain(t *testing.T, n *Net) {
	t.Helper()
	if err := n.stack.RemoveNIC(nicID); err != nil {
		t.Fatal(err)
	}
	if err := n.stack.CreateNIC(nicID, plain{n.nic}); err != nil {
		t.Fatal(err)
	}
	n.nic.v4, _ = n.stack.GetNetworkEndpoint(nicID, header.IPv4ProtocolNumber)
	n.nic.v6, _ = n.stack.GetNetworkEndpoint(nicID, header.IPv6ProtocolNumber)
	n.stack.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: nicID}, {Destination: header.IPv6EmptySubnet, NIC: nicID},
	})
	for a := range n.own {
		err := n.stack.AddProtocolAddress(nicID, tcpip.ProtocolAddress{
			Protocol: protocolOf(a), AddressWithPrefix: stackAddr(a).WithPrefix(),
		}, stack.AddressProperties{})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// segment returns the TCP segment of a packet, all of whose lengths and
// checksums are right by the judgement of the stack's own code.
func segment(packet []byte) (header.TCP, error) {
	var ip header.Network
	switch header.IPVersion(packet) {
	case header.IPv4Version:
		v4 := header.IPv4(packet)
		if !v4.IsValid(len(packet)) || int(v4.TotalLength()) != len(packet) || !v4.IsChecksumValid() {
			return nil, fmt.Errorf("bad IPv4 header: % x", packet[:header.IPv4MinimumSize])
		}
		ip = v4
	case header.IPv6Version:
		v6 := header.IPv6(packet)
		if !v6.IsValid(len(packet)) || header.IPv6MinimumSize+int(v6.PayloadLength()) != len(packet) {
			return nil, fmt.Errorf("bad IPv6 header: % x", packet[:header.IPv6MinimumSize])
		}
		ip = v6
	default:
		return nil, fmt.Errorf("no IP packet: % x", packet)
	}
	tcp := header.TCP(ip.Payload())
	data := tcp.Payload()
	if !tcp.IsChecksumValid(ip.SourceAddress(), ip.DestinationAddress(), checksum.Checksum(data, 0), uint16(len(data))) {
		return nil, fmt.Errorf("bad checksum: % x", packet)
	}
	return tcp, nil
}

// recordTransfer sends data over a connection whose every random choice and
// moment is fixed, and returns the packets that carried them.
func recordTransfer(t *testing.T, to netip.Addr, data []byte, whole bool) [][]byte {
	seed := byte(0)
	_, manual := manualClock()
	p := newPair(t, manual, func(_ string, o *stack.Options) {
		seed++
		o.SecureRNG = rand.NewChaCha8([32]byte{seed})
	})
	if !whole {
		makePlain(t, p.left)
	}
	// In a round trip of no time RACK takes everything for lost.
	recovery := tcpip.TCPRecovery(0)
	if err := p.left.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &recovery); err != nil {
		t.Fatal(err)
	}
	var packets [][]byte
	p.fromLeft.set(func() {
		p.fromLeft.edit = func(packet []byte) []byte {
			if s, err := segment(packet); err != nil {
				t.Error(err)
			} else if len(s.Payload()) > 0 {
				packets = append(packets, bytes.Clone(packet))
			}
			return packet
		}
	})
	dialed, accepted := p.connect(t, to)
	if _, err := dialed.Write(data); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(accepted, make([]byte, len(data))); err != nil {
		t.Fatal(err)
	}
	if cut := p.left.Stats().SegmentBursts > 0; cut != whole {
		t.Fatalf("segments came whole: %v; want %v", cut, whole)
	}
	p.fromLeft.mu.Lock()
	defer p.fromLeft.mu.Unlock()
	return packets
}

// What segment makes of bursts is what the stack makes itself when it has to,
// byte for byte, but for the push, which is only in the last of a burst.
func TestBurstsBecomeTheStacksOwnPackets(t *testing.T) {
	for _, to := range []netip.Addr{right4, right6} {
		data := noise(7, 100_001)
		whole, singly := recordTransfer(t, to, data, true), recordTransfer(t, to, data, false)
		if len(whole) != len(singly) {
			t.Fatalf("%v: %d packets, the stack makes %d", to, len(whole), len(singly))
		}
		pushes := 0
		for i := range whole {
			for _, packets := range [][][]byte{whole, singly} {
				tcp, err := segment(packets[i])
				if err != nil {
					t.Fatal(err)
				}
				if tcp.Flags().Contains(header.TCPFlagPsh) && &packets[0] == &whole[0] {
					pushes++
				}
				tcp.SetFlags(uint8(tcp.Flags() | header.TCPFlagPsh))
				tcp.SetWindowSize(0) // depends on who was faster
				tcp.SetChecksum(0)   // was right, by segment
			}
			if !bytes.Equal(whole[i], singly[i]) {
				t.Fatalf("%v: packet %d is\n% x, the stack's own\n% x", to, i, whole[i][:80], singly[i][:80])
			}
		}
		if pushes == 0 || pushes > len(whole)/2 {
			t.Errorf("%v: %d of %d packets have a push", to, pushes, len(whole))
		}
	}
}

// burst is a TCP packet as the stack hands it over: with data in many views,
// and the sum of the pseudo header in the place of the checksum.
func burst(src, dst netip.Addr, flags header.TCPFlags, mss uint16, df bool, views ...[]byte) *stack.PacketBuffer {
	var payload buffer.Buffer
	for _, v := range views {
		one := buffer.MakeWithData(v)
		payload.Merge(&one)
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: 100, Payload: payload})
	tcp := header.TCP(pkt.TransportHeader().Push(header.TCPMinimumSize + 12))
	tcp.Encode(&header.TCPFields{
		SrcPort: 1, DstPort: 2, SeqNum: 0xffffff00, AckNum: 3, DataOffset: uint8(len(tcp)), Flags: flags, WindowSize: 9,
	})
	header.EncodeNOP(tcp[header.TCPMinimumSize:])
	header.EncodeNOP(tcp[header.TCPMinimumSize+1:])
	header.EncodeTSOption(4, 5, tcp[header.TCPMinimumSize+2:])
	tcp.SetChecksum(header.PseudoHeaderChecksum(header.TCPProtocolNumber, stackAddr(src), stackAddr(dst), uint16(pkt.Size())))
	pkt.TransportProtocolNumber = header.TCPProtocolNumber
	pkt.NetworkProtocolNumber = protocolOf(src)
	if src.Is4() {
		ip := header.IPv4(pkt.NetworkHeader().Push(header.IPv4MinimumSize))
		fields := header.IPv4Fields{
			TotalLength: uint16(pkt.Size()), TTL: 64, Protocol: uint8(header.TCPProtocolNumber),
			SrcAddr: stackAddr(src), DstAddr: stackAddr(dst),
		}
		if df {
			fields.Flags = header.IPv4FlagDontFragment
		} else {
			fields.ID = 0xfffe
		}
		ip.Encode(&fields)
		ip.SetChecksum(^ip.CalculateChecksum())
	} else {
		header.IPv6(pkt.NetworkHeader().Push(header.IPv6MinimumSize)).Encode(&header.IPv6Fields{
			PayloadLength: uint16(pkt.Size() - header.IPv6MinimumSize), TransportProtocol: header.TCPProtocolNumber,
			HopLimit: 64, SrcAddr: stackAddr(src), DstAddr: stackAddr(dst),
		})
	}
	pkt.GSOOptions = stack.GSO{Type: stack.GSOTCPv4, NeedsCsum: true, MSS: mss}
	return pkt
}

func TestSegment(t *testing.T) {
	const psh, fin, ack = header.TCPFlagPsh, header.TCPFlagFin, header.TCPFlagAck
	for _, c := range []struct {
		name     string
		src, dst netip.Addr
		mss      uint16
		df       bool
		views    []int // lengths of the data's views
		want     []int // lengths of the segments' data
		batches  int
	}{
		{"one view", left4, right4, 1368, true, []int{3000}, []int{1368, 1368, 264}, 1},
		{"IPv6", left6, right6, 1348, true, []int{3000}, []int{1348, 1348, 304}, 1},
		{"many views", left4, right4, 1000, true, []int{1, 999, 1, 1000, 7, 0, 500}, []int{1000, 1000, 508}, 1},
		{"whole segments", left4, right4, 1000, true, []int{2000}, []int{1000, 1000}, 1},
		{"odd lengths", left4, right4, 333, true, []int{555, 445}, []int{333, 333, 333, 1}, 1},
		{"may be fragmented", left4, right4, 1000, false, []int{2500}, []int{1000, 1000, 500}, 1},
		{"a full batch", left4, right4, 1368, true, []int{burstSegments * 1368}, nil, 1},
		{"more than a batch", left6, right6, 1348, true, []int{60000, 192}, nil, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var data []byte
			var views [][]byte
			for i, n := range c.views {
				views = append(views, noise(uint64(i), n))
				data = append(data, views[i]...)
			}
			pkt := burst(c.src, c.dst, psh|fin|ack, c.mss, c.df, views...)
			defer pkt.DecRef()
			options := bytes.Clone(header.TCP(pkt.TransportHeader().Slice()).Options())
			e := newEndpoint(&wire{mtu: wireguard.DefaultMTU})
			if !e.segment(wireguard.Route{}, pkt) {
				t.Fatal("not taken")
			}
			e.queue.close()
			var got []byte
			var lengths []int
			batches := 0
			for e.queue.count > 0 {
				b, n := e.queue.pop()
				batches++
				for i := range b.Len() {
					p := b.Packet(i)
					n -= len(p)
					tcp, err := segment(p)
					if err != nil {
						t.Fatal(err)
					}
					if want := uint32(0xffffff00) + uint32(len(got)); tcp.SequenceNumber() != want {
						t.Errorf("segment %d: sequence number %#x; want %#x", len(lengths), tcp.SequenceNumber(), want)
					}
					if id := uint16(0xfffe) + uint16(len(lengths)); !c.df && header.IPv4(p).ID() != id {
						t.Errorf("segment %d: ID %#x; want %#x", len(lengths), header.IPv4(p).ID(), id)
					}
					if tcp.WindowSize() != 9 || tcp.AckNumber() != 3 || !bytes.Equal(tcp.Options(), options) {
						t.Errorf("segment %d: header % x is not the burst's", len(lengths), tcp[:tcp.DataOffset()])
					}
					got = append(got, tcp.Payload()...)
					lengths = append(lengths, len(tcp.Payload()))
					if last := len(got) == len(data); tcp.Flags().Intersects(psh|fin) != last {
						t.Errorf("segment %d: flags %v", len(lengths)-1, tcp.Flags())
					}
				}
				if n != 0 {
					t.Errorf("the queue counted %d bytes too many", n)
				}
			}
			if !bytes.Equal(got, data) {
				t.Error("the data differ")
			}
			if c.want != nil && fmt.Sprint(lengths) != fmt.Sprint(c.want) {
				t.Errorf("segments of %d; want %d", lengths, c.want)
			}
			if batches != c.batches {
				t.Errorf("%d batches; want %d", batches, c.batches)
			}
		})
	}
}

// A burst is a whole number of segments and fits an IP packet, whatever the
// MTU.
func TestBurstSize(t *testing.T) {
	for mtu := 576; mtu < 65475; mtu++ {
		e := &endpoint{mtu: mtu}
		data := int(e.GSOMaxSize()) - header.TCPTotalHeaderMaximumSize - 1 // as the stack's sender has it
		mss := mtu - 20 - 60
		if data%mss != 0 || data < mss || data/mss > burstSegments || data+maxHeaders > 65535 {
			t.Fatalf("MTU %d: %d bytes in segments of %d", mtu, data, mss)
		}
	}
}
