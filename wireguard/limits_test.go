package wireguard

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// TestPeerWithoutLimits: engines that keep no limit on the age of a session or
// on its counter. We keep ours, in silence.
func TestPeerWithoutLimits(t *testing.T) {
	inBothRoles(t, func(t *testing.T, a *side, p *scripted) {
		payload := packet(p.inner, a.inner, 84)
		p.say(p.dataAt(1<<63, payload))
		p.say(p.dataAt(1<<64-1, payload), p.dataAt(0, payload), p.dataAt(1, payload)) // it wraps
		if a.received() != 1 {
			t.Errorf("%d packets delivered, want the one before the counter wrapped", a.received())
		}
		time.Sleep(engine.RejectAfterTime)
		for p.hear() != nil { // what our timers say meanwhile
		}
		expired := a.Drops()["expired"]
		p.say(p.dataAt(1<<63+1, payload))
		if a.received() != 1 || a.Drops()["expired"] != expired+1 {
			t.Errorf("%d packets delivered and dropped %v, want an old session refused", a.received(), a.Drops())
		}
		p.silence("data of an old session")
		p.connect()
		p.say(p.data(payload))
		if a.received() != 2 {
			t.Error("a new session is as good as any")
		}
	})
}

// TestUnconfirmedSession: a peer that completes a handshake and says nothing.
// We must not send with a session that it may not have.
func TestUnconfirmedSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := script(t, nil)
		p.say(p.initiation())
		p.finish(p.want(message.TypeResponse, "an initiation"))
		a.sendTo(t, p, 1, 84)
		p.silence("the session is not confirmed")
		time.Sleep(time.Second)
		p.say(p.data(packet(p.inner, a.inner, 84))) // data confirms like a keepalive
		if a.received() != 1 {
			t.Error("the first data of a session was not delivered")
		}
		p.open(p.want(message.TypeData, "the session is confirmed"))
	})
}

// TestEagerResponder: a peer that sends data behind its response, without
// waiting for ours.
func TestEagerResponder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := script(t, nil)
		a.sendTo(t, p, 1, 84)
		response := p.answer(p.want(message.TypeInitiation, "there is something to send"))
		p.say(response)
		p.say(p.data(packet(p.inner, a.inner, 84)))
		if a.received() != 1 {
			t.Error("its data was not delivered")
		}
	})
}

// TestExcessiveRekeys: a peer that begins a new session ten times a second. The
// newest is used, and the one before still receives.
func TestExcessiveRekeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sessions = 50
		a, p := script(t, nil)
		p.connect()
		for i := range sessions {
			old := p.session
			time.Sleep(100 * time.Millisecond)
			p.connect()
			fresh := p.session
			p.session = old
			p.say(p.data(packet(p.inner, a.inner, 84)))
			p.session = fresh
			a.sendTo(t, p, 1, 84)
			p.open(p.want(message.TypeData, "the newest session is used"))
			if a.received() != i+1 {
				t.Fatalf("session %d: what was under way in the one before is lost", i)
			}
		}
		wantDrops(t, a.Device, map[string]uint64{})
	})
}

// TestForeignMessages: extensions of other engines mean nothing to us, and do
// no harm to the peer that sends them beside what is standard.
func TestForeignMessages(t *testing.T) {
	inBothRoles(t, func(t *testing.T, a *side, p *scripted) {
		long := append(p.initiation(), make([]byte, 100)...) // TunSafe's extension fields
		reserved := p.data(nil)                              // WARP's reserved bytes
		copy(reserved[1:], []byte{1, 2, 3})
		short := append([]byte{0x80}, p.data(nil)[4:]...) // TunSafe's short header
		p.say(long, reserved, short)
		p.silence("what is not standard")
		wantDrops(t, a.Device, map[string]uint64{"classify": 3})
		p.say(p.data(packet(p.inner, a.inner, 84)))
		if a.received() != 1 {
			t.Error("standard data of the same peer was not delivered")
		}
	})
}
