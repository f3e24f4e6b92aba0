package netstack

import (
	"bytes"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// udpPacket is a datagram to port 7 of the left side.
func udpPacket(src, dst netip.Addr, payload string) []byte {
	udp := header.UDP(append(make([]byte, header.UDPMinimumSize), payload...))
	udp.Encode(&header.UDPFields{SrcPort: 9, DstPort: 7, Length: uint16(len(udp))})
	pseudo := header.PseudoHeaderChecksum(header.UDPProtocolNumber, stackAddr(src), stackAddr(dst), uint16(len(udp)))
	udp.SetChecksum(^checksum.Checksum(udp, pseudo))
	return ipPacket(src, dst, header.UDPProtocolNumber, udp)
}

// tcpPacket is a SYN to port 7 of the left side.
func tcpPacket(src, dst netip.Addr) []byte {
	syn := header.TCP(make([]byte, header.TCPMinimumSize))
	syn.Encode(&header.TCPFields{
		SrcPort: 9, DstPort: 7, DataOffset: header.TCPMinimumSize, Flags: header.TCPFlagSyn, WindowSize: 1000,
	})
	pseudo := header.PseudoHeaderChecksum(header.TCPProtocolNumber, stackAddr(src), stackAddr(dst), uint16(len(syn)))
	syn.SetChecksum(^checksum.Checksum(syn, pseudo))
	return ipPacket(src, dst, header.TCPProtocolNumber, syn)
}

// fragments cuts an IPv4 packet behind its first cut bytes of payload.
func fragments(packet []byte, cut int) [][]byte {
	head, tail := bytes.Clone(packet[:header.IPv4MinimumSize+cut]), bytes.Clone(packet[:header.IPv4MinimumSize])
	tail = append(tail, packet[header.IPv4MinimumSize+cut:]...)
	header.IPv4(head).SetFlagsFragmentOffset(header.IPv4FlagMoreFragments, 0)
	header.IPv4(tail).SetFlagsFragmentOffset(0, uint16(cut))
	for _, p := range [][]byte{head, tail} {
		ip := header.IPv4(p)
		ip.SetTotalLength(uint16(len(p)))
		ip.SetChecksum(0)
		ip.SetChecksum(^ip.CalculateChecksum())
	}
	return [][]byte{head, tail}
}

// edited is a changed copy of a packet.
func edited(packet []byte, change func(p []byte)) []byte {
	p := bytes.Clone(packet)
	change(p)
	return p
}

func TestInspect(t *testing.T) {
	udp4, udp6 := udpPacket(right4, left4, "hello"), udpPacket(right6, left6, "hello")
	tcp4, tcp6 := tcpPacket(right4, left4), tcpPacket(right6, left6)
	for _, c := range []struct {
		name   string
		packet []byte
		want   verdict
	}{
		{"UDP", udp4, verified},
		{"UDP over IPv6", udp6, verified},
		{"TCP", tcp4, verified},
		{"TCP over IPv6", tcp6, verified},
		{"bytes behind the packet", append(bytes.Clone(tcp4), 1, 2, 3), verified},
		{"no checksum", edited(udp4, func(p []byte) { header.UDP(p[20:]).SetChecksum(0) }), verified},
		{"no checksum over IPv6", edited(udp6, func(p []byte) { header.UDP(p[40:]).SetChecksum(0) }), corrupt},
		{"wrong data", edited(udp4, func(p []byte) { p[30] ^= 1 }), corrupt},
		{"wrong data over IPv6", edited(udp6, func(p []byte) { p[50] ^= 1 }), corrupt},
		{"wrong sequence number", edited(tcp4, func(p []byte) { p[24] ^= 1 }), corrupt},
		{"wrong sequence number over IPv6", edited(tcp6, func(p []byte) { p[44] ^= 1 }), corrupt},
		{"wrong TTL", edited(tcp4, func(p []byte) { p[8] ^= 1 }), corrupt},
		{"wrong source over IPv6", edited(tcp6, func(p []byte) { p[20] ^= 1 }), corrupt},
		{"a fragment", fragments(udp4, 8)[0], unverified},
		{"another protocol", ipPacket(right4, left4, 99, []byte("x")), unverified},
		{"an extension header", ipPacket(right6, left6, tcpip.TransportProtocolNumber(header.IPv6DestinationOptionsExtHdrIdentifier), make([]byte, 8)), unverified},
		{"nothing", nil, malformed},
		{"one byte", []byte{0x45}, malformed},
		{"another version", edited(udp4, func(p []byte) { p[0] = 0x55 }), malformed},
		{"a header cut short", udp4[:19], malformed},
		{"a packet cut short", udp4[:len(udp4)-1], malformed},
		{"an IPv6 packet cut short", udp6[:len(udp6)-1], malformed},
		{"a header longer than the packet", edited(udp4[:28], func(p []byte) { p[0] = 0x4f }), malformed},
		{"a UDP header cut short", ipPacket(right4, left4, header.UDPProtocolNumber, make([]byte, 7)), malformed},
		{"a UDP length too long", ipPacket(right6, left6, header.UDPProtocolNumber, []byte{0, 1, 0, 2, 0, 9, 0, 0}), malformed},
		{"a TCP header cut short", ipPacket(right4, left4, header.TCPProtocolNumber, make([]byte, 19)), malformed},
		{"a TCP offset too short", edited(tcp4, func(p []byte) { p[32] = 0x40 }), malformed},
		{"a TCP offset too long", edited(tcp4, func(p []byte) { p[32] = 0x60 }), malformed},
		{"a small path MTU", icmpError(right4, 4, 575, udp4), malformed},
		{"the smallest path MTU", icmpError(right4, 4, 576, udp4), unverified},
		{"a small path MTU over IPv6", icmpError(right6, 0, 1279, udp6), malformed},
		{"the smallest path MTU over IPv6", icmpError(right6, 0, 1280, udp6), unverified},
		{"an ICMP header cut short", ipPacket(right4, left4, header.ICMPv4ProtocolNumber, []byte{3, 4}), unverified},
	} {
		if got := newEndpoint(&wire{mtu: wireguard.DefaultMTU}).inspect(c.packet).verdict; got != c.want {
			t.Errorf("%s: verdict %d; want %d", c.name, got, c.want)
		}
	}
}

func TestTCPOption(t *testing.T) {
	for _, c := range []struct {
		options []byte
		want    []byte
	}{
		{nil, nil},
		{[]byte{2, 4, 5, 180}, []byte{2, 4, 5, 180}},
		{[]byte{1, 1, 3, 3, 7, 2, 4, 5, 180, 0}, []byte{2, 4, 5, 180}},
		{[]byte{2, 3, 5, 2, 4, 5, 180}, []byte{2, 3, 5}},
		{[]byte{0, 2, 4, 5, 180}, nil}, // behind the end
		{[]byte{2, 4, 5}, nil},
		{[]byte{2, 0, 5, 180}, nil},
		{[]byte{3, 3, 7}, nil},
		{[]byte{3}, nil},
	} {
		if got := tcpOption(c.options, header.TCPOptionMSS); !bytes.Equal(got, c.want) {
			t.Errorf("% x: % x; want % x", c.options, got, c.want)
		}
	}
}

// What is corrupt is dropped and counted, and does no harm.
func TestCorruptPackets(t *testing.T) {
	p := newPair(t)
	u, err := p.left.ListenPacket(t.Context(), "udp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	whole4 := udpPacket(right4, left4, "a datagram in fragments")
	torn4 := fragments(edited(whole4, func(p []byte) { p[40] ^= 1 }), 16)
	p.left.deliver([][]byte{
		edited(udpPacket(right4, left4, "wrong"), func(p []byte) { p[30] ^= 1 }),
		edited(udpPacket(right6, left6, "wrong"), func(p []byte) { p[50] ^= 1 }),
		{1, 2, 3},
		torn4[0], torn4[1], // only the stack, that has both, can tell
		udpPacket(right4, left4, "right"),
		fragments(whole4, 16)[1], fragments(whole4, 16)[0],
		udpPacket(right6, left6, "right too"),
	})
	buf := make([]byte, 100)
	for _, want := range []string{"right", "a datagram in fragments", "right too"} {
		if n, _, err := u.ReadFrom(buf); err != nil || string(buf[:n]) != want {
			t.Errorf("read %q, %v; want %q", buf[:n], err, want)
		}
	}
	if s := p.left.Stats(); s.DeliverPackets != 9 || s.DeliverChecksum != 2 || s.DeliverMalformed != 1 {
		t.Errorf("counted %+v", s)
	}
	if n := p.left.stack.Stats().UDP.ChecksumErrors.Value(); n != 1 {
		t.Errorf("the stack found %d wrong checksums; want that of the fragments", n)
	}
}

// A connection survives corruption of one packet in fifty.
func TestTCPOverCorruptingLink(t *testing.T) {
	p := newPair(t)
	n := 0
	p.fromLeft.set(func() {
		p.fromLeft.edit = func(packet []byte) []byte {
			if n++; n%50 == 0 {
				packet[n/50%len(packet)] ^= 0x10
			}
			return packet
		}
	})
	dialed, accepted := p.connect(t, right4)
	data := noise(3, 1<<20)
	go func() {
		_, _ = dialed.Write(data)
		dialed.CloseWrite()
	}()
	if got, err := io.ReadAll(accepted); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if s := p.right.Stats(); s.DeliverChecksum == 0 {
		t.Errorf("nothing was found: %+v", s)
	}
}

// The smallest path MTU that is believed makes segments small, one that must
// not be believed does not.
func TestPathMTU(t *testing.T) {
	for _, c := range []struct {
		to   netip.Addr
		mtu  uint32
		want bool // that it is believed
	}{{right4, 1000, true}, {right6, 1300, true}, {right4, 0, false}, {right4, 500, false}, {right6, 1000, false}} {
		p := newPair(t)
		dialed, accepted := p.connect(t, c.to)
		var largest int
		told := false
		p.fromLeft.set(func() {
			p.fromLeft.edit = func(packet []byte) []byte {
				if told && len(packet) > largest {
					largest = len(packet)
				}
				if !told && len(packet) > 1000 {
					told = true
					code := byte(header.ICMPv4FragmentationNeeded)
					if c.to.Is6() {
						code = 0
					}
					mtu := c.mtu
					if c.to.Is6() {
						mtu = max(mtu, 1) // so that it is a packet too big
					}
					p.fromRight.Send(batchOf(p.fromRight, icmpError(c.to, code, mtu, packet[:100])))
					return nil
				}
				return packet
			}
		})
		go dialed.Write(noise(1, 100<<10))
		if _, err := io.ReadFull(accepted, make([]byte, 100<<10)); err != nil {
			t.Fatal(err)
		}
		p.fromLeft.set(func() { largest = 0 })
		dialed.Write(noise(2, 50<<10))
		if _, err := io.ReadFull(accepted, make([]byte, 50<<10)); err != nil {
			t.Fatal(err)
		}
		p.fromLeft.mu.Lock()
		if small := largest <= int(c.mtu); small != c.want {
			t.Errorf("%v: packets of %d bytes after a path MTU of %d", c.to, largest, c.mtu)
		}
		p.fromLeft.mu.Unlock()
	}
}

// Nobody at the other end is a router or a neighbour: the stack announces
// nothing, and no packet gives it an address or a route.
func TestNothingIsConfiguredByPackets(t *testing.T) {
	p := newPair(t)
	routes, addresses := p.left.stack.GetRouteTable(), p.left.stack.AllAddresses()[nicID]
	advert := header.ICMPv6(append([]byte{byte(header.ICMPv6RouterAdvert), 0, 0, 0, 64, 0, 7, 8, 15: 0},
		[]byte{3, 4, 64, 0xc0, 5: 9, 9: 9, 16: 0xfd, 31: 0}...)) // a router, and a prefix to take an address of
	router := netip.MustParseAddr("fe80::1")
	advert.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{
		Header: advert, Src: stackAddr(router), Dst: header.IPv6AllNodesMulticastAddress,
	}))
	packet := ipPacket(router, netip.IPv6LinkLocalAllNodes(), header.ICMPv6ProtocolNumber, advert)
	header.IPv6(packet).SetHopLimit(header.NDPHopLimit)
	p.left.deliver([][]byte{packet})

	if n := p.left.stack.Stats().ICMP.V6.PacketsReceived.RouterAdvert.Value(); n != 1 {
		t.Fatalf("%d router advertisements were received", n)
	}
	if got := p.left.stack.AllAddresses()[nicID]; len(got) != len(addresses) {
		t.Errorf("addresses are %v", got)
	}
	if got := p.left.stack.GetRouteTable(); len(got) != len(routes) {
		t.Errorf("routes are %v", got)
	}
	p.left.Close()
	if n := p.left.Stats().TransmitPackets; n != 0 {
		t.Errorf("%d packets were sent", n)
	}
}

// Nothing that comes out of the tunnel makes the stack panic, or keep much, or
// stop working.
func FuzzDeliver(f *testing.F) {
	for _, p := range [][]byte{
		udpPacket(right4, left4, "hello"), udpPacket(right6, left6, "hello"),
		tcpPacket(right4, left4), tcpPacket(right6, left6),
		fragments(udpPacket(right4, left4, "a longer datagram"), 16)[0],
		icmpError(right4, 1, 0, tcpPacket(left4, right4)), icmpError(right6, 3, 0, tcpPacket(left6, right6)),
		icmpError(right4, 4, 1000, tcpPacket(left4, right4)), icmpError(right6, 0, 1300, tcpPacket(left6, right6)),
		ipPacket(right4, left4, header.ICMPv4ProtocolNumber, edited(echoRequest(right4), func(p []byte) {
			header.ICMPv4(p).SetChecksum(^checksum.Checksum(p, 0))
		})),
	} {
		f.Add(p, false)
	}
	icmp6 := func(kind header.ICMPv6Type, body ...byte) []byte {
		p := ipPacket(right6, left6, header.ICMPv6ProtocolNumber, append([]byte{byte(kind), 0, 0, 0}, body...))
		header.IPv6(p).SetHopLimit(header.NDPHopLimit)
		return p
	}
	own := left6.As16()
	for _, p := range [][]byte{
		icmp6(header.ICMPv6NeighborSolicit, append(make([]byte, 4), own[:]...)...),
		icmp6(header.ICMPv6NeighborAdvert, append(make([]byte, 4), own[:]...)...),
		icmp6(header.ICMPv6RouterAdvert, append([]byte{64, 0, 7, 8, 11: 0},
			[]byte{3, 4, 64, 0xc0, 5: 9, 9: 9, 16: 0xfd, 31: 0}...)...), // a prefix
		icmp6(header.ICMPv6MulticastListenerQuery, make([]byte, 20)...),
		ipPacket(right6, left6, 0, append([]byte{17, 0, 5, 2, 0, 0, 1, 0}, udpPacket(right6, left6, "x")[40:]...)),
		ipPacket(right6, left6, 44, append([]byte{17, 0, 0, 1, 0, 0, 0, 1}, udpPacket(right6, left6, "12345678")[40:]...)),
		ipPacket(right6, left6, 43, append([]byte{6, 0, 0, 1, 0, 0, 0, 0}, tcpPacket(right6, left6)[40:]...)),
		ipPacket(right4, left4, header.ICMPv4ProtocolNumber, append([]byte{byte(header.ICMPv4Timestamp)}, make([]byte, 19)...)),
		edited(append(ipPacket(right4, left4, 17, nil), 7, 3, 4, 0, 17, 9, 0, 7, 0, 8, 0, 0), func(p []byte) { p[0], p[3] = 0x46, 32 }),
	} {
		f.Add(p, true)
	}
	n := &Net{}
	w := newWire(f, wireguard.DefaultMTU, nil)
	if err := n.start(w, []netip.Prefix{netip.PrefixFrom(left4, 32), netip.PrefixFrom(left6, 128)}, stackOptions()); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { n.Close() })
	l, err := n.Listen(f.Context(), "tcp", ":7")
	if err != nil {
		f.Fatal(err)
	}
	u, err := n.ListenPacket(f.Context(), "udp", ":7")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, packet []byte, repair bool) {
		if repair {
			repairChecksums(packet)
		}
		before := bytes.Clone(packet)
		n.deliver([][]byte{packet, packet})
		if !bytes.Equal(packet, before) {
			t.Error("the packet was changed")
		}
		u.SetReadDeadline(time.Now())
		for _, err := u.(*UDPConn).Read(make([]byte, 1)); err == nil; {
			_, err = u.(*UDPConn).Read(make([]byte, 1))
		}
		q := n.nic.queue
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.count > maxQueuedBatches || q.bytes > maxQueuedBytes+2*len(packet) {
			t.Errorf("%d bytes in %d batches are queued", q.bytes, q.count)
		}
	})
	l.Close()
}

// repairChecksums makes checksums right where a packet is whole enough to have
// some, so that the fuzzer gets behind them.
func repairChecksums(p []byte) {
	var ip header.Network
	switch {
	case header.IPVersion(p) == header.IPv4Version && header.IPv4(p).IsValid(len(p)):
		v4 := header.IPv4(p)
		v4.SetChecksum(0)
		v4.SetChecksum(^v4.CalculateChecksum())
		ip = v4
	case header.IPVersion(p) == header.IPv6Version && header.IPv6(p).IsValid(len(p)):
		ip = header.IPv6(p)
	default:
		return
	}
	payload := ip.Payload()
	pseudo := header.PseudoHeaderChecksum(ip.TransportProtocol(), ip.SourceAddress(), ip.DestinationAddress(), uint16(len(payload)))
	place := map[tcpip.TransportProtocolNumber]int{
		header.TCPProtocolNumber: 16, header.UDPProtocolNumber: 6, header.ICMPv4ProtocolNumber: 2, header.ICMPv6ProtocolNumber: 2,
	}
	at, ok := place[ip.TransportProtocol()]
	if !ok || len(payload) < at+2 {
		return
	}
	if ip.TransportProtocol() == header.ICMPv4ProtocolNumber {
		pseudo = 0
	}
	checksum.Put(payload[at:], 0)
	checksum.Put(payload[at:], ^checksum.Checksum(payload, pseudo))
}
