package interop

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// relay stands between two ends: it is the endpoint that a client has for the
// target, and forwards from a socket of its own for each client, as a NAT
// does. On the way it does to the datagrams what the paths say.
type relay struct {
	front       *net.UDPConn
	there, back chan carried
	start       time.Time
	tasks       sync.WaitGroup
	done        chan struct{}

	mu      sync.Mutex
	target  netip.AddrPort              // guarded by mu
	outside netip.Addr                  // guarded by mu: where datagrams to the target come from
	clients map[netip.AddrPort]*mapping // guarded by mu
	watch   func(arrival) bool          // guarded by mu, see observe
	forget  int                         // guarded by mu, see forgetful
	expired int                         // guarded by mu
}

// mapping is what the relay knows of one client.
type mapping struct {
	conn *net.UDPConn // outside
	idle int          // guarded by relay.mu: ticks since the client last sent
}

// carried is a datagram that comes into a path.
type carried struct {
	size int
	send func()
}

// newRelay starts a relay to target. What a path leaves to chance is of the
// seed.
func newRelay(t testing.TB, target netip.AddrPort, there, back path, seed uint64) *relay {
	t.Helper()
	r := &relay{
		front: listenUDP(t, target.Addr()), target: target, outside: target.Addr(),
		there: make(chan carried), back: make(chan carried),
		clients: map[netip.AddrPort]*mapping{}, start: time.Now(), done: make(chan struct{}),
	}
	r.tasks.Go(func() { r.carry(newLane(there, seed), r.there) })
	r.tasks.Go(func() { r.carry(newLane(back, seed+1), r.back) })
	r.tasks.Go(r.receive)
	t.Cleanup(func() {
		close(r.done)
		r.front.Close()
		r.rebind(func() {})
		r.tasks.Wait()
	})
	return r
}

// listenUDP opens a socket with room for a burst.
func listenUDP(t testing.TB, at netip.Addr) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
	if err != nil {
		t.Fatal(err)
	}
	widen(c)
	return c
}

// widen asks for large buffers. What the system gives has to do.
func widen(c *net.UDPConn) {
	_ = c.SetReadBuffer(4 << 20)
	_ = c.SetWriteBuffer(4 << 20)
}

// addr is the endpoint for clients.
func (r *relay) addr() netip.AddrPort { return addrOf(r.front) }

func addrOf(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// move has datagrams to the target come from another address and port from now
// on, and go to another target. What was on the way back is lost.
func (r *relay) move(outside netip.Addr, target netip.AddrPort) {
	r.rebind(func() { r.outside, r.target = outside, target })
}

// rebind forgets every client and changes something else.
func (r *relay) rebind(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for client, m := range r.clients {
		m.conn.Close()
		delete(r.clients, client)
	}
	change()
}

// arrival is a datagram that comes in, from a client or from the target.
type arrival struct {
	from     netip.AddrPort
	toTarget bool
	size     int
}

// observe shows f each datagram that comes in, one at a time. It is dropped
// when f says false.
func (r *relay) observe(f func(arrival) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watch = f
}

// tick is the unit of time of a forgetful relay. It is counted, so that a
// machine that stands still does not age anything.
const tick = 100 * time.Millisecond

// forgetful has the relay forget clients that were silent for so many ticks.
func (r *relay) forgetful(ticks int) {
	r.mu.Lock()
	r.forget = ticks
	r.mu.Unlock()
	r.tasks.Go(func() {
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				r.age()
			case <-r.done:
				return
			}
		}
	})
}

func (r *relay) age() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for client, m := range r.clients {
		if m.idle++; m.idle >= r.forget {
			m.conn.Close()
			delete(r.clients, client)
			r.expired++
		}
	}
}

// forgotten is how many clients were.
func (r *relay) forgotten() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.expired
}

// sources are where datagrams to the target come from.
func (r *relay) sources() []netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	var at []netip.AddrPort
	for _, m := range r.clients {
		at = append(at, addrOf(m.conn))
	}
	return at
}

// receive takes datagrams of clients.
func (r *relay) receive() {
	buf := make([]byte, 1<<16)
	for {
		n, client, err := r.front.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		m, target := r.find(client, n)
		if m != nil {
			r.give(r.there, buf[:n], m.conn, target)
		}
	}
}

// find is the mapping of a client that sent n bytes, or nil if they are lost.
func (r *relay) find(client netip.AddrPort, n int) (*mapping, netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.done:
		return nil, netip.AddrPort{}
	default:
	}
	if r.watch != nil && !r.watch(arrival{client, true, n}) {
		return nil, netip.AddrPort{}
	}
	m := r.clients[client]
	if m == nil {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.outside, 0)))
		if err != nil {
			return nil, netip.AddrPort{}
		}
		widen(conn)
		m = &mapping{conn: conn}
		r.clients[client] = m
		r.tasks.Go(func() { r.answer(m.conn, client) })
	}
	m.idle = 0
	return m, r.target
}

// answer takes what comes back for one client.
func (r *relay) answer(conn *net.UDPConn, client netip.AddrPort) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		r.mu.Lock()
		lost := r.watch != nil && !r.watch(arrival{from, false, n})
		r.mu.Unlock()
		if !lost {
			r.give(r.back, buf[:n], r.front, client)
		}
	}
}

// give puts a datagram on a path.
func (r *relay) give(way chan<- carried, b []byte, conn *net.UDPConn, to netip.AddrPort) {
	b = append([]byte(nil), b...)
	send := func() { _, _ = conn.WriteToUDPAddrPort(b, to) } // it may be closed: lost
	select {
	case way <- carried{len(b), send}:
	case <-r.done:
	}
}

// carry is one path at work.
func (r *relay) carry(l *lane, in <-chan carried) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		for send := l.pop(time.Since(r.start)); send != nil; send = l.pop(time.Since(r.start)) {
			send()
		}
		var due <-chan time.Time
		if at := l.next(); at != never {
			timer.Reset(at - time.Since(r.start))
			due = timer.C
		}
		select {
		case c := <-in:
			l.push(time.Since(r.start), c.size, c.send)
		case <-due:
		case <-r.done:
			return
		}
	}
}
