package netstack

import (
	"slices"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

const (
	// closeTimeout is what closed connections get at the end of the tunnel to
	// deliver what was written.
	closeTimeout = 5 * time.Second
	// closeCheck is how often they are looked at: the stack tells nobody that
	// the end of a stream was acknowledged.
	closeCheck = 2 * time.Millisecond
)

// Close ends the tunnel. Open connections are reset at once, and calls that
// wait return with an error. Connections that were closed before, and whose
// data the other end has not acknowledged yet, get 5 seconds to deliver it;
// then they are reset too. Close returns when no goroutine of the tunnel is
// left; a second call waits for the first.
func (n *Net) Close() error {
	n.closing.Do(func() {
		n.gate.Lock()
		n.closed = true
		close(n.done)
		if n.flows != nil {
			n.flows.cancel()
		}
		n.gate.Unlock()
		n.finish()
		// Whoever waits for the queue holds locks of the stack, and maybe the
		// gate: they go first. The stack has said what it had to.
		n.nic.queue.close()
		n.budget.close()
		n.gate.Lock()
		n.deaf = true
		n.gate.Unlock()
		n.nic.gaps.stop()
		for _, s := range n.stacks() {
			stopStack(s)
		}
		n.tasks.Wait()
		n.stop()
	})
	return nil
}

// stacks are all stacks of the tunnel.
func (n *Net) stacks() []*stack.Stack {
	if n.flows == nil {
		return []*stack.Stack{n.stack}
	}
	return []*stack.Stack{n.stack, n.flows.stack}
}

// finish resets the connections that are open, and then the closed ones, which
// get time if they have something to deliver. The link still carries packets
// both ways. It leaves what ended well on both sides: there, a reset could
// overtake the end of a stream that the other end is still reading.
func (n *Net) finish() {
	left := n.resetOpen()
	check := time.NewTicker(closeCheck)
	defer check.Stop()
	for end := time.Now().Add(closeTimeout); len(left) > 0 && time.Now().Before(end); <-check.C {
		left = slices.DeleteFunc(left, delivered)
	}
	for _, ep := range n.connections() {
		if ep.EndpointState() != tcp.StateTimeWait {
			ep.Abort()
		}
	}
}

// resetOpen resets the connections that are open, and returns the closed ones
// that have something to deliver.
func (n *Net) resetOpen() (left []*tcp.Endpoint) {
	for _, ep := range n.connections() {
		switch {
		case !isOrphan(ep):
			ep.Abort()
		case !delivered(ep):
			left = append(left, ep)
		}
	}
	return left
}

// connections are the TCP connections that there are, and listeners.
func (n *Net) connections() (all []*tcp.Endpoint) {
	for _, s := range n.stacks() {
		for _, ep := range s.RegisteredEndpoints() {
			if ep, ok := ep.(*tcp.Endpoint); ok {
				all = append(all, ep)
			}
		}
	}
	return all
}

// isOrphan reports whether the owner of a connection has closed it: Close of
// TCPConn leaves a mark.
func isOrphan(ep *tcp.Endpoint) bool {
	var timeout tcpip.TCPUserTimeoutOption
	return ep.GetSockOpt(&timeout) == nil && time.Duration(timeout) == orphanTimeout
}

// delivered reports whether a closed connection has nothing to deliver any
// more: the end of its stream was acknowledged, or it has failed.
func delivered(ep *tcp.Endpoint) bool {
	switch ep.EndpointState() {
	case tcp.StateFinWait1, tcp.StateClosing, tcp.StateLastAck:
		return false
	}
	return true
}
