package engine

// A peer's three key slots. "current" is what we send with. "previous" only
// receives what was still under way. "next" is a session that we answered and
// whose initiator has not yet shown that it has the keys: we must not send
// with it before (Whitepaper, 5.4.5 and 6.3).

// beginAsInitiator installs a session whose response we accepted.
func (p *Peer) beginAsInitiator(k *Keypair) {
	if p.next != nil {
		// They initiated as well, and their session is the older: theirs may
		// still be sending with it.
		p.free(p.previous)
		p.free(p.current.Load())
		p.previous, p.next = p.next, nil
	} else {
		p.free(p.previous)
		p.previous = p.current.Load()
	}
	p.current.Store(k)
}

// beginLate installs a session whose response came when a newer initiation of
// ours had left. If they initiated meanwhile, that session is the newer one and
// goes on waiting: moved out of the way of this one, it would be gone with the
// response to our newer initiation, and they might be sending with it.
func (p *Peer) beginLate(k *Keypair) {
	p.free(p.previous)
	p.previous = p.current.Load()
	p.current.Store(k)
}

// beginAsResponder installs a session that we answered.
func (p *Peer) beginAsResponder(k *Keypair) {
	p.free(p.next)
	p.free(p.previous)
	p.previous, p.next = nil, k
}

// confirm moves a session up once its initiator has used it, and reports
// whether it did.
func (p *Peer) confirm(k *Keypair) bool {
	if k != p.next {
		return false
	}
	p.free(p.previous)
	p.previous = p.current.Load()
	p.current.Store(k)
	p.next = nil
	return true
}

// holds reports whether k is still in one of the slots.
func (p *Peer) holds(k *Keypair) bool {
	return k == p.current.Load() || k == p.previous || k == p.next
}

// dropKeypairs empties the slots.
func (p *Peer) dropKeypairs() {
	p.free(p.previous)
	p.free(p.next)
	p.free(p.current.Load())
	p.previous, p.next = nil, nil
	p.current.Store(nil)
}

// free makes a session unreachable: its index is gone at once, and its keys go
// with the last call that still holds it.
func (p *Peer) free(k *Keypair) {
	if k != nil {
		p.engine.indices.remove(k.local)
	}
}
