package netstack

import (
	"net"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// acceptTimeout ends a handshake that the peer does not complete, after
	// SYN-ACKs at 0, 1, 3, 7 and 15 seconds.
	acceptTimeout = 20 * time.Second
	// abortRetry is how often an endpoint is looked for that is about to be
	// there.
	abortRetry = time.Millisecond
)

// tcpFlow is a SYN that waits for its answer.
type tcpFlow struct {
	flow
	id      stack.TransportEndpointID
	request *tcp.ForwarderRequest // the stack's side of it
}

var _ Flow = (*tcpFlow)(nil)

// handleTCP takes a segment that belongs to no connection. What begins none is
// reset, and what finds no room. It returns false to let the stack do that.
func (f *flows) handleTCP(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	// Whatever the flags are that negotiate ECN (RFC 3168, section 6.1.1).
	const mask = header.TCPFlagSyn | header.TCPFlagAck | header.TCPFlagRst | header.TCPFlagFin
	if header.TCP(pkt.TransportHeader().Slice()).Flags()&mask != header.TCPFlagSyn {
		return f.reset(pkt)
	}
	fl, err := f.newFlow("tcp", id, pkt)
	if err != nil {
		return true
	}
	t := &tcpFlow{flow: fl, id: id}
	switch f.open(t) {
	case alreadyOpening:
		t.forget()
		return true
	case noRoom:
		t.forget()
		f.excess.Add(1)
		return f.reset(pkt)
	}
	f.net.tasks.Add(1)
	if !f.forwarder.HandlePacket(id, pkt) { // it is malformed
		f.closed(t)
		f.net.tasks.Done()
		return false
	}
	return true
}

// opened is what came of a SYN.
type opened int

const (
	opening opened = iota
	alreadyOpening
	noRoom
)

// open makes t pending, unless it is: then this is the same SYN once more.
func (f *flows) open(t *tcpFlow) opened {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.opening[t.id] != nil {
		return alreadyOpening
	}
	if !f.pending.enter(t.peer) {
		return noRoom
	}
	f.opening[t.id] = t
	return opening
}

// closed is the end of what open did.
func (f *flows) closed(t *tcpFlow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.opening, t.id)
	f.pending.leave(t.peer)
	t.forget()
}

// serveTCP is a goroutine of each flow. The stack starts it; handleTCP has
// added it to the tasks.
func (f *flows) serveTCP(r *tcp.ForwarderRequest) {
	defer f.net.tasks.Done()
	f.mu.Lock()
	t := f.opening[r.ID()]
	f.mu.Unlock()
	t.request = r
	f.offered.Add(1)
	defer t.Refuse(nil)
	f.accept(f.ctx, t)
}

// Accept implements Flow.
func (t *tcpFlow) Accept() (net.Conn, error) {
	if t.decided {
		return nil, t.failure(net.ErrClosed)
	}
	t.decided = true
	defer t.flows.closed(t)
	c, err := t.handshake()
	t.request.Complete(false)
	if err != nil {
		return nil, t.failure(err)
	}
	return c, nil
}

// Refuse implements Flow.
func (t *tcpFlow) Refuse(err error) {
	if t.decided {
		return
	}
	t.decided = true
	defer t.flows.closed(t)
	reset := refusalOf(err) == refused
	if t.flows.net.enter() != nil { // nothing can be said any more
		t.request.Complete(false)
		return
	}
	defer t.flows.net.leave()
	if !reset {
		t.flows.reject(t.packet, refusalOf(err))
	}
	t.request.Complete(reset)
}

// handshake sends the SYN-ACK and waits for the peer's answer.
func (t *tcpFlow) handshake() (*TCPConn, error) {
	n := t.flows.net
	timeout, done, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	timer := t.flows.stack.Clock().AfterFunc(acceptTimeout, func() { close(timeout) })
	defer timer.Stop()
	go func() { ended <- t.watch(timeout, done) }()
	q := new(waiter.Queue)
	ep, failed := t.request.CreateEndpoint(q)
	close(done)
	err := <-ended
	if err == nil && failed != nil {
		err = n.unlessClosed(errno(failed))
	}
	if err == nil {
		// From here on Close finds the endpoint.
		if err = n.enter(); err == nil {
			n.leave()
			return n.accepted("tcp", ep, q, fullAddr(t.source)), nil
		}
	}
	if failed == nil {
		ep.Abort()
	}
	return nil, err
}

// watch waits for the end of a handshake. It ends one itself that takes too
// long, or that is not complete when the tunnel ends, and returns the reason.
func (t *tcpFlow) watch(timeout, done <-chan struct{}) (reason error) {
	select {
	case <-done:
		return nil
	case <-timeout:
		reason = syscall.ETIMEDOUT
	case <-t.flows.net.done:
		reason = net.ErrClosed
	}
	for {
		// The stack has no other way to end it, and only knows the endpoint
		// when the SYN-ACK is sent.
		if ep := t.flows.stack.FindTransportEndpoint(t.protocol(), tcp.ProtocolNumber, t.id, nicID); ep != nil {
			ep.Abort()
		}
		select {
		case <-done:
			return reason
		case <-time.After(abortRetry):
		}
	}
}

func (t *tcpFlow) protocol() tcpip.NetworkProtocolNumber { return protocolOf(t.destination.Addr()) }
