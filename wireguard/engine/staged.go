package engine

import "github.com/wimble-proxy/wimble/wireguard/message"

// stagedQueue holds copies of packets that wait for a session, the oldest
// first. An empty packet is a keepalive. It is nil when nothing waits.
type stagedQueue [][]byte

// push adds a copy of packet and reports whether the oldest had to go for it.
func (q *stagedQueue) push(packet []byte) (dropped bool) {
	if len(*q) == maxStaged {
		q.pop()
		dropped = true
	}
	*q = append(*q, append([]byte(nil), packet...))
	return dropped
}

// pop removes the oldest packet.
func (q *stagedQueue) pop() []byte {
	packet := (*q)[0]
	(*q)[0] = nil
	if *q = (*q)[1:]; len(*q) == 0 {
		*q = nil
	}
	return packet
}

// Stage keeps copies of packets until there is a session, the oldest of more
// than 128 being dropped, and asks for a handshake. It takes the peer's lock.
func (p *Peer) Stage(now Time, out *Output, packets ...[]byte) {
	p.lock.Lock()
	defer p.unlock(out)
	if !p.up {
		for range packets {
			p.engine.Drop(DropRemoved)
		}
		return
	}
	for _, packet := range packets {
		if p.staged.push(packet) {
			p.engine.Drop(DropStaged)
		}
	}
	p.flushStaged(now, out)
}

// flushStaged seals and sends what waits, or asks for the session that it
// needs.
func (p *Peer) flushStaged(now Time, out *Output) {
	if len(p.staged) == 0 || !p.up {
		return
	}
	k := p.SendKey(now.Boot)
	for k != nil && len(p.staged) > 0 {
		counter, ok := k.Reserve(1)
		if !ok {
			k = nil
			break
		}
		packet := p.staged.pop()
		slot := out.buffer(SealedSize(len(packet), p.engine.mtu))
		copy(slot[message.DataHeaderSize:], packet)
		k.Seal(slot, counter)
		p.send(slot, out)
		if len(packet) > 0 {
			p.dataSent(now)
		}
		p.authSent(now)
		p.rekeyAfterSending(now, k, out)
	}
	if k == nil {
		p.wantInitiation(now, out, false)
	}
}

// sendKeepalive sends an empty packet, or what waits in its place: without a
// session that starts a handshake.
func (p *Peer) sendKeepalive(now Time, out *Output) {
	if len(p.staged) == 0 {
		p.staged.push(nil)
	}
	p.flushStaged(now, out)
}

// dropStaged empties the queue.
func (p *Peer) dropStaged() {
	for len(p.staged) > 0 {
		p.staged.pop()
		p.engine.Drop(DropStaged)
	}
}
