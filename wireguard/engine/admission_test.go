package engine

import (
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/message"
)

// TestAdmit: what is refused costs no Diffie-Hellman computation, and is
// counted for its reason.
func TestAdmit(t *testing.T) {
	l, a, b := met(t, 1)
	a.send(b)
	l.run(0)
	calm, full := Backlog{Limit: 1024}, Backlog{Waiting: 1024, Limit: 1024}
	initiation := a.forge(b, tail(1, 1))
	for _, row := range []struct {
		name    string
		msg     []byte
		backlog Backlog
		want    Drop
	}{
		{"an initiation", initiation, calm, DropNone},
		{"an initiation with a wrong mac1", flip(initiation, 120), calm, DropMAC1},
		{"an initiation that is not what mac1 is of", flip(initiation, 50), calm, DropMAC1},
		{"an initiation with any mac2", flip(initiation, 147), calm, DropNone},
		{"an initiation that is too long", append(clone(initiation), 0), calm, DropClassify},
		{"a reserved byte", flip(initiation, 2), calm, DropClassify},
		{"data is not for here", a.last("data"), calm, DropClassify},
		{"nothing", nil, calm, DropClassify},
		{"a response that nothing waits for", b.responseTo(b), calm, DropState},
		{"a cookie reply that nothing waits for", cookieReply(), calm, DropState},
	} {
		var out Output
		drops := b.engine.Drops()
		if got := b.engine.Admit(b.time(), Endpoint{Addr: a.addr}, clone(row.msg), row.backlog, &out); got != (row.want == DropNone) {
			t.Errorf("%s: admitted %t", row.name, got)
		}
		after := b.engine.Drops()
		if row.want != DropNone && after[row.want] != drops[row.want]+1 {
			t.Errorf("%s: not counted as %v", row.name, row.want)
		}
		if len(out.Datagrams) > 0 {
			t.Errorf("%s: answered", row.name)
		}
	}
	if b.engine.Admit(b.time(), Endpoint{Addr: a.addr}, initiation, full, new(Output)) {
		t.Error("admitted to a full backlog")
	}
	b.apply(Change{PrivateKey: new(b.key)})
	b.engine.Handshake(b.time(), Endpoint{Addr: a.addr}, cookieReply(), &b.out)
	b.expectDrops(DropClassify, 5)
}

// flip changes a bit of a copy.
func flip(msg []byte, at int) []byte {
	msg = clone(msg)
	msg[at] ^= 1
	return msg
}

// responseTo is a response with a valid mac1 for n, to an index that nobody
// has.
func (n *node) responseTo(m *node) []byte {
	b := make([]byte, message.ResponseSize)
	(&message.Response{Receiver: 12345}).Put(b)
	signFor(m, b)
	return b
}

func cookieReply() []byte {
	b := make([]byte, message.CookieReplySize)
	(&message.CookieReply{Receiver: 12345}).Put(b)
	return b
}

// TestUnderLoad: from an eighth of the backlog on, and for a second after it,
// a sender must first show that it receives: it gets a cookie, and its next
// initiation carries that.
func TestUnderLoad(t *testing.T) {
	l, a, b := steady(t, 0)
	for _, step := range []struct {
		at      time.Duration
		waiting int
		want    string // what b answers an initiation with
	}{
		{0, 127, "response"},
		{10 * time.Second, 128, "cookie reply"},
		{10*time.Second + time.Second - 1, 0, "cookie reply"},
		{11 * time.Second, 0, "response"},
		{20 * time.Second, 1023, "cookie reply"},
	} {
		l.run(step.at)
		b.backlog.Waiting = step.waiting
		b.trace = nil
		b.receive(Endpoint{Addr: a.addr}, a.forge(b, tail(byte(step.at/time.Second)+1, 0)))
		b.expect("by its load", at(step.at, step.want))
	}
	b.expectDrops(DropCookie, 3)

	// A whole handshake under load takes one retransmission.
	l.run(30 * time.Second)
	a.trace, b.trace = nil, nil
	b.backlog.Waiting = 500
	a.send(b)
	l.run(35 * time.Second)
	a.expect("again, with the cookie", "30s initiation", "35s initiation", "35s data")
	b.expect("a cookie, smaller than what asked for it", "30s cookie reply", "35s response")
	b.expectDelivered(a, 1)

	// The cookie shows the address; a full backlog is full all the same, and
	// the source's rate is a limit.
	withCookie := func(i byte) {
		msg := a.forge(b, tail(0xff, i))
		a.peer(b).signer.Sign(a.now, a.peer(b).remote, msg)
		b.receive(Endpoint{Addr: a.addr}, msg)
	}
	b.backlog.Waiting = b.backlog.Limit
	withCookie(0)
	b.expectDrops(DropBacklog, 1)
	b.backlog.Waiting = 500
	for i := range byte(10) {
		withCookie(i + 1)
	}
	b.expectDrops(DropRate, 7) // two tokens of five went before
}
