package netstack

import "sync/atomic"

// Stats counts what passed the stack since Open, and what was dropped, by the
// step of a packet's way that did it.
type Stats struct {
	// SegmentBursts are bursts of TCP that were cut, into SegmentPackets.
	SegmentBursts, SegmentPackets uint64
	// RouteNoPeer and RouteNoEndpoint are packets that had nowhere to go.
	RouteNoPeer, RouteNoEndpoint uint64
	// TransmitBatches, TransmitPackets and TransmitBytes were given to the
	// Device. TransmitWaits is how often a sender had to wait for it,
	// TransmitDrops the packets lost by Close.
	TransmitBatches, TransmitPackets, TransmitBytes, TransmitWaits, TransmitDrops uint64
	// DeliverPackets and DeliverBytes came from the Device, of which
	// DeliverMalformed were no IP packets, or ones that must not be believed,
	// and DeliverChecksum had a wrong checksum.
	DeliverPackets, DeliverBytes, DeliverMalformed, DeliverChecksum uint64
	// CoalesceSegments were merged with the one before them, and CoalesceAcks
	// are acknowledgements that the next one made superfluous.
	CoalesceSegments, CoalesceAcks uint64
	// FlowsOffered were given to Options.Accept, and EchoesOffered to
	// Options.Echo. FlowsExcess are flows and echo requests for which there
	// was no room, FlowsPending those that wait for an answer now.
	FlowsOffered, EchoesOffered, FlowsExcess uint64
	FlowsPending                             int
	// TCPEstablished are the connections open now.
	TCPEstablished uint64
	// TCPRetransmits are segments that were sent again.
	TCPRetransmits uint64
}

// counters are the atomics behind Stats.
type counters struct {
	segmentBursts, segmentPackets                   atomic.Uint64
	routeNoPeer, routeNoEndpoint                    atomic.Uint64
	transmitBatches, transmitPackets, transmitBytes atomic.Uint64
	transmitWaits, transmitDrops                    atomic.Uint64
	deliverPackets, deliverBytes                    atomic.Uint64
	deliverMalformed, deliverChecksum               atomic.Uint64
	coalesceSegments, coalesceAcks                  atomic.Uint64
}

// Stats returns the counters of the stack.
func (n *Net) Stats() Stats {
	c, tcp := &n.nic.stats, n.stack.Stats().TCP
	s := Stats{
		SegmentBursts:    c.segmentBursts.Load(),
		SegmentPackets:   c.segmentPackets.Load(),
		RouteNoPeer:      c.routeNoPeer.Load(),
		RouteNoEndpoint:  c.routeNoEndpoint.Load(),
		TransmitBatches:  c.transmitBatches.Load(),
		TransmitPackets:  c.transmitPackets.Load(),
		TransmitBytes:    c.transmitBytes.Load(),
		TransmitWaits:    c.transmitWaits.Load(),
		TransmitDrops:    c.transmitDrops.Load(),
		DeliverPackets:   c.deliverPackets.Load(),
		DeliverBytes:     c.deliverBytes.Load(),
		DeliverMalformed: c.deliverMalformed.Load(),
		DeliverChecksum:  c.deliverChecksum.Load(),
		CoalesceSegments: c.coalesceSegments.Load(),
		CoalesceAcks:     c.coalesceAcks.Load(),
		TCPEstablished:   tcp.CurrentEstablished.Value(),
		TCPRetransmits:   tcp.Retransmits.Value(),
	}
	if f := n.flows; f != nil {
		s.FlowsOffered, s.EchoesOffered, s.FlowsExcess = f.offered.Load(), f.echoes.Load(), f.excess.Load()
		s.FlowsPending = f.pending.now()
		foreign := f.stack.Stats().TCP
		s.TCPEstablished += foreign.CurrentEstablished.Value()
		s.TCPRetransmits += foreign.Retransmits.Value()
	}
	return s
}
