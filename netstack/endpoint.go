package netstack

import (
	"math"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/wimble-proxy/wimble/wireguard"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// link is where packets go: a wireguard.Device.
type link interface {
	// Route finds the way to dst, or fails with wireguard.ErrNoPeer or
	// ErrNoEndpoint.
	Route(dst netip.Addr) (wireguard.Route, error)
	// NewBatch returns an empty batch for packets of size bytes at most.
	NewBatch(r wireguard.Route, size int) *wireguard.Batch
	// Send takes a batch for good. It may block for the socket, and for
	// nothing that waits for this package.
	Send(b *wireguard.Batch)
	// MTU is the length of the longest packet; it does not change.
	MTU() int
}

var _ link = (*wireguard.Device)(nil)

// burstSegments is how many full segments of TCP the stack hands over at most:
// as many as a batch has room for.
const burstSegments = 44

// endpoint is the stack's network interface: the end of the link that speaks
// IP packets. Outgoing packets become batches by WritePackets and the queue,
// incoming ones become the stack's by deliver.
type endpoint struct {
	link  link
	mtu   int
	queue *queue
	acks  delayer
	gaps  patience
	holes holes
	stats counters

	// coalescers are those not in use, of *coalescer.
	coalescers sync.Pool

	// failures are connections to tell that they have no route.
	failures chan unreachable

	// attached is set by the stack.
	attached atomic.Bool
	// stack is the tunnel's own, v4 and v6 take incoming packets for it, transport
	// takes errors of flows. They are set before the first packet.
	stack     *stack.Stack
	v4, v6    stack.NetworkEndpoint
	transport stack.TransportDispatcher
	// flows take incoming packets that are not for us; nil if nobody does.
	flows *flows
}

var (
	_ stack.LinkEndpoint = (*endpoint)(nil)
	_ stack.GSOEndpoint  = (*endpoint)(nil)
)

func newEndpoint(l link) *endpoint {
	e := &endpoint{link: l, mtu: l.MTU(), failures: make(chan unreachable, maxFailures)}
	e.queue = newQueue(l, &e.stats)
	e.acks.send = e.sendLate
	e.gaps.roundTrip = e.roundTrip
	return e
}

// WritePackets queues packets and bursts for their routes, or sends what is small
// and alone. It is called with the locks of a flow held, and blocks while the
// queue is full or the socket takes nothing.
func (e *endpoint) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	for i, pkt := range pkts.AsSlice() {
		if err := e.write(pkt); err != nil {
			return i, err
		}
	}
	return pkts.Len(), nil
}

func (e *endpoint) write(pkt *stack.PacketBuffer) tcpip.Error {
	to := destination(pkt.NetworkHeader().Slice())
	r, err := e.route(to)
	if err != nil {
		e.fail(pkt, err)
		_, refused := routeErrno(err)
		return refused
	}
	if pkt.TransportProtocolNumber == header.TCPProtocolNumber {
		waits, first := e.acks.take(pkt)
		if waits {
			return nil
		}
		if first.packet != nil {
			e.sendLate(first)
		}
		if tcp := header.TCP(pkt.TransportHeader().Slice()); e.holes.learnt.Load() && tcp.Flags()&header.TCPFlagSyn != 0 {
			e.clamp(tcp, to)
		}
	}
	taken := false
	if mss := int(pkt.GSOOptions.MSS); pkt.GSOOptions.Type != stack.GSONone && pkt.Data().Size() > mss {
		taken = e.segment(r, pkt)
	} else {
		taken = e.queue.add(r, pkt.Size(), func(b []byte) { writePacket(b, pkt) })
		if taken && pkt.Size() > baseMTU && pkt.TransportProtocolNumber == header.TCPProtocolNumber && e.holes.timedOut() {
			e.probe(r, pkt)
		}
	}
	if !taken {
		return &tcpip.ErrClosedForSend{}
	}
	return nil
}

// sendLate queues an acknowledgement that has waited. If there is no way any
// more, the flow's next packet tells.
func (e *endpoint) sendLate(l late) {
	if r, err := e.route(l.to); err == nil {
		e.queue.add(r, len(l.packet), func(b []byte) { copy(b, l.packet) })
	}
}

// destination is the address that a packet goes to.
func destination(ip []byte) netip.Addr {
	var dst []byte
	if header.IPVersion(ip) == header.IPv6Version {
		dst = header.IPv6(ip).DestinationAddressSlice()
	} else {
		dst = header.IPv4(ip).DestinationAddressSlice()
	}
	addr, _ := netip.AddrFromSlice(dst)
	return addr
}

// source is the address that a packet comes from.
func source(ip []byte) netip.Addr {
	var src []byte
	if header.IPVersion(ip) == header.IPv6Version {
		src = header.IPv6(ip).SourceAddressSlice()
	} else {
		src = header.IPv4(ip).SourceAddressSlice()
	}
	addr, _ := netip.AddrFromSlice(src)
	return addr
}

// route asks the Device for the way to dst. Addresses that never leave a host
// have none, whatever the peers' AllowedIPs say (RFC 1122, section 3.2.1.3).
func (e *endpoint) route(dst netip.Addr) (wireguard.Route, error) {
	if dst.IsLoopback() || dst.IsUnspecified() {
		return wireguard.Route{}, wireguard.ErrNoPeer
	}
	return e.link.Route(dst)
}

// segment cuts a burst into the slots of batches of its own.
func (e *endpoint) segment(r wireguard.Route, pkt *stack.PacketBuffer) bool {
	var s segmenter
	s.init(pkt)
	e.stats.segmentBursts.Add(1)
	var b *wireguard.Batch
	filled := 0
	for n := s.next(); n > 0; n = s.next() {
		var slot []byte
		if b != nil {
			slot = b.Add(n)
		}
		if slot == nil {
			if b != nil && !e.queue.put(b, filled) {
				return false
			}
			b, filled = e.link.NewBatch(r, n), 0
			if slot = b.Add(n); slot == nil {
				b.Release()
				return false
			}
		}
		s.write(slot)
		filled += n
		e.stats.segmentPackets.Add(1)
	}
	return e.queue.put(b, filled)
}

// SupportedGSO says that bursts of TCP come whole: segment cuts them.
func (e *endpoint) SupportedGSO() stack.SupportedGSO { return stack.HostGSOSupported }

// GSOMaxSize makes a burst a whole number of IPv4 segments that fill a batch.
// The stack leaves room for all options in each segment, and takes the longest
// headers and one byte off the size.
func (e *endpoint) GSOMaxSize() uint32 {
	mss := e.mtu - header.IPv4MinimumSize - header.TCPHeaderMaximumSize
	fit := (math.MaxUint16 - maxHeaders) / mss
	return uint32(min(burstSegments, fit)*mss + header.TCPTotalHeaderMaximumSize + 1)
}

// Capabilities are none. Checksums of incoming packets are verified by
// deliver, which says so for each packet: for fragments it can't.
func (e *endpoint) Capabilities() stack.LinkEndpointCapabilities { return stack.CapabilityNone }

// MTU is the length of the longest packet.
func (e *endpoint) MTU() uint32 { return uint32(e.mtu) }

// Attach is told whether the stack is there.
func (e *endpoint) Attach(d stack.NetworkDispatcher) {
	e.attached.Store(d != nil)
	if d != nil {
		e.transport = d.(stack.TransportDispatcher) // the stack's interface is both
	}
}

// IsAttached reports whether the stack is there.
func (e *endpoint) IsAttached() bool { return e.attached.Load() }

// What follows is nothing to this interface: it has no header of its own, no
// address, and its goroutines are the Net's.

// SetMTU implements stack.LinkEndpoint.
func (*endpoint) SetMTU(uint32) {}

// MaxHeaderLength implements stack.LinkEndpoint.
func (*endpoint) MaxHeaderLength() uint16 { return 0 }

// LinkAddress implements stack.LinkEndpoint.
func (*endpoint) LinkAddress() tcpip.LinkAddress { return "" }

// SetLinkAddress implements stack.LinkEndpoint.
func (*endpoint) SetLinkAddress(tcpip.LinkAddress) {}

// ARPHardwareType implements stack.LinkEndpoint.
func (*endpoint) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }

// AddHeader implements stack.LinkEndpoint.
func (*endpoint) AddHeader(*stack.PacketBuffer) {}

// ParseHeader implements stack.LinkEndpoint.
func (*endpoint) ParseHeader(*stack.PacketBuffer) bool { return true }

// Wait implements stack.LinkEndpoint.
func (*endpoint) Wait() {}

// Close implements stack.LinkEndpoint.
func (*endpoint) Close() {}

// SetOnCloseAction implements stack.LinkEndpoint.
func (*endpoint) SetOnCloseAction(func()) {}
