package engine

import (
	"testing"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// stepLock is the lock of a peer in a lab. It lets something happen just
// before it is taken, which is what another goroutine could do there.
type stepLock struct {
	after int // how often it is taken before that
	do    func()
}

func (s *stepLock) Lock() {
	s.after--
	if do := s.do; do != nil && s.after < 0 {
		s.do = nil
		do()
	}
}

func (s *stepLock) Unlock() {}

// TestChangesDuringHandshakes: no lock is held over a Diffie-Hellman
// computation, so anything may happen meanwhile. Nothing half-made may be left.
func TestChangesDuringHandshakes(t *testing.T) {
	down := func(_ *lab, a, _ *node) { a.engine.Down() }
	remove := func(_ *lab, a, b *node) { a.engine.Apply(a.time(), Change{ReplacePeers: true}, new(Output)) }
	rekey := func(_ *lab, a, _ *node) {
		k := key.PrivateFrom([32]byte{1, 2, 3})
		a.engine.Apply(a.time(), Change{PrivateKey: &k}, new(Output))
	}
	forget := func(_ *lab, a, _ *node) { a.engine.Apply(a.time(), Change{PrivateKey: &key.Private{}}, new(Output)) }
	initiation := func(_ *lab, a, b *node) {
		a.engine.Handshake(a.time(), Endpoint{Addr: b.addr}, b.forge(a, tail(9, 9)), new(Output))
	}

	// a does each of these; its peer's lock is taken twice or more in each.
	initiate := func(l *lab, a, b *node) { a.greet(b) }
	answer := func(l *lab, a, b *node) {
		b.greet(a)
		a.receive(Endpoint{Addr: b.addr}, l.take(b, "initiation").msg)
	}
	finish := func(l *lab, a, b *node) {
		b.receive(Endpoint{Addr: a.addr}, l.take(a, "initiation").msg)
		a.receive(Endpoint{Addr: b.addr}, l.take(b, "response").msg)
	}
	for _, tt := range []struct {
		name   string
		do     func(l *lab, a, b *node)
		before func(l *lab, a, b *node) // what do needs
		locks  int                      // taken in do before the change
		change func(l *lab, a, b *node)
		want   Drop
		sent   []string // by a
	}{
		{"down while an initiation is made", initiate, nil, 2, down, DropRemoved, nil},
		{"removed while an initiation is made", initiate, nil, 2, remove, DropRemoved, nil},
		{"another private key while an initiation is made", initiate, nil, 2, rekey, DropRemoved, nil},
		{"no private key while an initiation is made", initiate, nil, 2, forget, DropRemoved, nil},
		{"answered while an initiation is made", initiate, nil, 2, initiation, DropNone, nil},
		{"down before a timestamp is accepted", answer, nil, 1, down, DropRemoved, nil},
		{"down while a response is made", answer, nil, 2, down, DropRemoved, nil},
		{"removed while a response is made", answer, nil, 2, remove, DropRemoved, nil},
		{"another private key while a response is made", answer, nil, 2, rekey, DropRemoved, nil},
		{"another initiation meanwhile", answer, nil, 1, initiation, DropFlood, nil},
		{"down while a response is accepted", finish, initiate, 1, down, DropState, []string{"0s initiation"}},
		{"removed while a response is accepted", finish, initiate, 1, remove, DropState, []string{"0s initiation"}},
		{"another private key while a response is accepted", finish, initiate, 1, rekey, DropState, []string{"0s initiation"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, 1)
			var locks []*stepLock
			a := l.add(Config{NewLock: func() Locker {
				locks = append(locks, new(stepLock))
				return locks[len(locks)-1]
			}})
			b := l.add(Config{})
			a.knows(b)
			b.knows(a)
			l.hold()
			if tt.before != nil {
				tt.before(l, a, b)
			}
			lock := locks[len(locks)-1]
			lock.after = tt.locks
			lock.do = func() { tt.change(l, a, b) }
			tt.do(l, a, b)
			if lock.do != nil {
				t.Fatal("the change did not happen")
			}
			if tt.want != DropNone {
				a.expectDrops(tt.want, 1)
			}
			a.expect("nothing half-made leaves", tt.sent...)
		})
	}
}
