package wireguard

import (
	"errors"
	"net"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// maxReadBackoff bounds how long a receiver waits after an error of its
// socket; the first wait is a thousandth of it.
const maxReadBackoff = time.Second

// receive serves one socket until it is closed. No other error ends it: the
// next read may go well again.
func (d *Device) receive(s *socket) {
	r := receiver{device: d}
	backoff := time.Duration(0)
	for {
		err := s.receive(func(trains []train) {
			backoff = 0
			r.trains(d.clock(), trains)
		})
		if errors.Is(err, net.ErrClosed) {
			return
		}
		backoff = min(max(2*backoff, maxReadBackoff/1000), maxReadBackoff)
		d.log.Debug("receive", "error", err, "pause", backoff)
		if s.pause(backoff) {
			return
		}
	}
}

// receiver takes what one socket received apart. It keeps its buffers from
// one read to the next.
type receiver struct {
	device  *Device
	session *engine.Keypair // of the run
	from    engine.Endpoint // of the run
	run     []engine.Opened
	packets [][]byte
	out     engine.Output
}

// trains handles what was received in one go.
func (r *receiver) trains(now engine.Time, trains []train) {
	for i := range trains {
		t := &trains[i]
		for rest := t.datagrams; len(rest) > 0; {
			msg := rest[:min(t.stride, len(rest))]
			rest = rest[len(msg):]
			r.classify(now, t.from, msg)
		}
	}
	r.commit(now)
	r.device.act(&r.out)
	if len(r.packets) > 0 {
		r.device.deliver(r.packets)
		clear(r.packets)
		r.packets = r.packets[:0]
	}
}

// classify sends one datagram its way.
func (r *receiver) classify(now engine.Time, from engine.Endpoint, msg []byte) {
	d := r.device
	if kind, ok := message.Classify(msg); !ok || kind != message.TypeData {
		if d.engine.Admit(now, from, msg, d.work.backlog(), &r.out) && !d.work.handle(from, msg) {
			d.engine.Drop(engine.DropBacklog) // the other receiver was quicker
		}
		return
	}
	k := d.engine.Find(message.DataReceiver(msg))
	if k == nil {
		return
	}
	opened, drop := k.Open(now.Boot, msg)
	if drop != engine.DropNone {
		d.engine.Drop(drop)
		return
	}
	if k != r.session || from != r.from {
		r.commit(now)
		r.session, r.from = k, from
	}
	r.run = append(r.run, opened)
}

// commit commits the run and collects what may be delivered of it.
func (r *receiver) commit(now engine.Time) {
	if len(r.run) == 0 {
		return
	}
	r.session.Commit(now, r.from, r.run, &r.out)
	for i := range r.run {
		if len(r.run[i].Packet) == 0 {
			continue
		}
		if packet := r.device.engine.Police(r.session.Peer(), r.run[i].Packet); packet != nil {
			r.packets = append(r.packets, packet)
		}
	}
	clear(r.run)
	r.run, r.session = r.run[:0], nil
}
