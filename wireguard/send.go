package wireguard

import (
	"net/netip"

	"github.com/wimble-proxy/wimble/wireguard/engine"
)

// Route finds the peer for packets to dst. Its errors are ErrNoPeer and
// ErrNoEndpoint, so that a dial fails at once and not by time-out.
func (d *Device) Route(dst netip.Addr) (Route, error) {
	p := d.engine.Route(dst)
	if p == nil {
		return Route{}, ErrNoPeer
	}
	if _, ok := p.Endpoint(); !ok {
		d.engine.Drop(engine.DropEndpoint)
		return Route{}, ErrNoEndpoint
	}
	return Route{peer: p}, nil
}

// NewBatch returns an empty Batch for packets of size bytes at most to r.
func (d *Device) NewBatch(r Route, size int) *Batch { return d.pool.New(r, size, d.mtu) }

// Send seals a batch and sends it, or keeps its packets until the handshake
// that they start is done. It takes the batch for good. It blocks only for the
// UDP socket. What can't be sent is counted.
func (d *Device) Send(b *Batch) {
	defer b.Release()
	if b.n == 0 {
		return
	}
	p, now := b.route.peer, d.clock()
	k := p.SendKey(now.Boot)
	if k == nil {
		d.stage(p, now, b)
		return
	}
	first, ok := k.Reserve(b.n)
	if !ok {
		d.stage(p, now, b)
		return
	}
	for i := range b.n {
		k.Seal(b.slot(i), first+uint64(i))
	}
	sent := 0
	if to, ok := p.Endpoint(); !ok {
		d.engine.Drop(engine.DropEndpoint)
	} else if d.transmit(b.buf[:b.end], b.stride, to) {
		sent = b.end
	}
	out := d.output()
	p.Sent(now, k, sent, out)
	d.finish(out)
}

// stage leaves a batch's packets with a peer that has no session.
func (d *Device) stage(p *engine.Peer, now engine.Time, b *Batch) {
	out := d.output()
	for i := range b.n {
		p.Stage(now, out, b.Packet(i))
	}
	d.finish(out)
}

// tryOthers sends an initiation that the system refused to the other addresses
// of the peer's name: a host without IPv6 must not wait for time-outs first.
func (d *Device) tryOthers(dg *engine.Datagram) {
	for range d.endpoints.count(dg.Initiator.Public()) - 1 {
		to, ok := d.endpoints.advance(dg.Initiator.Public())
		if !ok || d.transmit(dg.Bytes, len(dg.Bytes), engine.Endpoint{Addr: to}) {
			return
		}
	}
}

// transmit sends datagrams of stride bytes each, of which the last may be
// shorter, and reports whether the system took them.
func (d *Device) transmit(datagrams []byte, stride int, to engine.Endpoint) bool {
	if err := d.sockets.send(datagrams, stride, to); err != nil {
		d.engine.Drop(engine.DropTransmit)
		return false
	}
	return true
}
