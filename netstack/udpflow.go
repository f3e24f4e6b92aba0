package netstack

import (
	"net"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// flowBuffer is what waits in each UDP flow to be read, in bytes.
const flowBuffer = 128 << 10

// udpFlow is a socket that waits for somebody to take it, with what has
// arrived for it.
type udpFlow struct {
	flow
	conn *UDPConn
}

var _ Flow = (*udpFlow)(nil)

// handleUDP takes a datagram that belongs to no flow. It always returns true:
// what finds no room is lost, and the peer will try again.
func (f *flows) handleUDP(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	fl, err := f.newFlow("udp", id, pkt)
	if err != nil {
		return true
	}
	u := &udpFlow{flow: fl}
	if !f.pending.enter(u.peer) {
		f.excess.Add(1)
		u.forget()
		return true
	}
	if !u.open(id, pkt) {
		f.pending.leave(u.peer)
		u.forget()
		return true
	}
	f.offered.Add(1)
	f.net.tasks.Go(u.serve)
	return true
}

// open makes the flow's socket: from here on datagrams go there.
func (u *udpFlow) open(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	q := new(waiter.Queue)
	ep, err := udp.NewForwarderRequest(u.flows.stack, id, pkt).CreateEndpoint(q)
	if err != nil {
		return false
	}
	ep.SocketOptions().SetReceiveBufferSize(flowBuffer, true)
	u.conn = &UDPConn{v4: u.destination.Addr().Is4(), v6: u.destination.Addr().Is6()}
	u.conn.init(u.flows.net, "udp", ep, q)
	u.conn.local, u.conn.remote = netAddr("udp", u.destination), netAddr("udp", u.source)
	return true
}

// serve is a goroutine of each flow.
func (u *udpFlow) serve() {
	defer u.forget()
	defer func() {
		if !u.decided {
			u.Refuse(nil)
		}
	}()
	u.flows.accept(u.flows.ctx, u)
}

// Accept implements Flow.
func (u *udpFlow) Accept() (net.Conn, error) {
	if u.decided {
		return nil, u.failure(net.ErrClosed)
	}
	u.decide()
	if u.packet.Size() > u.flows.nic.mtu { // too much to keep for the life of the flow
		u.forget()
	}
	return u.conn, nil
}

// Refuse implements Flow.
func (u *udpFlow) Refuse(err error) {
	if !u.decided {
		u.decide()
	}
	_ = u.conn.Close() // may be closed already
	if u.packet == nil || u.flows.net.enter() != nil {
		return
	}
	defer u.flows.net.leave()
	u.flows.reject(u.packet, refusalOf(err))
	u.forget()
}

func (u *udpFlow) decide() {
	u.decided = true
	u.flows.pending.leave(u.peer)
}
