package wireguard

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// listenFor tells what a Device sends in a span of time, each message with
// its time after the start in whole seconds. The rest of a second is jitter.
func (s *scripted) listenFor(span time.Duration) (heard []string) {
	const step = 10 * time.Millisecond
	for at := time.Duration(0); at <= span; at += step {
		for msg := s.hear(); msg != nil; msg = s.hear() {
			name := nameOf(msg)
			if len(msg) == message.DataMinSize {
				name = "a keepalive"
			}
			heard = append(heard, fmt.Sprintf("%ds %s", int(at.Seconds()), name))
		}
		time.Sleep(step)
	}
	return heard
}

// TestW17SendAfterSilence: nothing goes either way for a while, and then one
// packet is sent.
func TestW17SendAfterSilence(t *testing.T) {
	for _, test := range []struct {
		silence              int      // seconds
		initiator, responder []string // what leaves with the packet
	}{
		{0, []string{"0s data"}, []string{"0s data"}},
		{9, []string{"0s data"}, []string{"0s data"}},
		{11, []string{"0s data"}, []string{"0s data"}},
		{119, []string{"0s data"}, []string{"0s data"}},
		{121, []string{"0s data", "0s an initiation"}, []string{"0s data"}}, // Rekey-After-Time is the initiator's
		{179, []string{"0s data", "0s an initiation"}, []string{"0s data"}},
		{181, []string{"0s an initiation"}, []string{"0s an initiation"}}, // Reject-After-Time
		{541, []string{"0s an initiation"}, []string{"0s an initiation"}}, // every key is gone
	} {
		for _, initiator := range []bool{true, false} {
			want := test.responder
			if initiator {
				want = test.initiator
			}
			synctest.Test(t, func(t *testing.T) {
				a, p := script(t, nil)
				if initiator {
					a.sendTo(t, p, 1, 84)
					p.accept()
					p.want(message.TypeData, "the staged packet")
					p.say(p.data(nil)) // nothing is unanswered
				} else {
					p.connect()
				}
				if heard := p.listenFor(time.Duration(test.silence) * time.Second); len(heard) != 0 {
					t.Errorf("initiator %t: %v in %d s of silence", initiator, heard, test.silence)
				}
				a.sendTo(t, p, 1, 84)
				if heard := p.listenFor(time.Second); !slices.Equal(heard, want) {
					t.Errorf("initiator %t, after %d s: %q, want %q", initiator, test.silence, heard, want)
				}
				zeroed := a.events.count(engine.EventKeysZeroed)
				if want := test.silence >= 540; (zeroed == 1) != want {
					t.Errorf("initiator %t, after %d s: keys zeroed %d times", initiator, test.silence, zeroed)
				}
			})
		}
	}
}

// TestW17Timers: what leaves by itself, in order.
func TestW17Timers(t *testing.T) {
	retransmissions := func(first, n int) (trace []string) {
		for range n {
			trace = append(trace, fmt.Sprintf("%ds an initiation", first))
			first += 5
		}
		return trace
	}
	for _, test := range []struct {
		name      string
		keepalive time.Duration
		session   bool // the peer began one at 0 s
		do        func(a *side, p *scripted)
		span      time.Duration
		want      []string
	}{
		{
			name: "data that nobody answers gets one keepalive", session: true,
			do: func(a *side, p *scripted) {
				p.say(p.data(packet(p.inner, a.inner, 84)))
				time.Sleep(5 * time.Second)
				p.say(p.data(packet(p.inner, a.inner, 84)))
			},
			span: 3 * time.Minute, want: []string{"5s a keepalive"},
		},
		{
			name: "keepalives are not answered", session: true,
			do:   func(_ *side, p *scripted) { p.say(p.data(nil), p.data(nil)) },
			span: 5 * time.Minute,
		},
		{
			name: "a peer that is dead", session: true,
			do: func(a *side, p *scripted) {
				a.sendTo(t, p, 1, 84)
				p.want(message.TypeData, "the session is good")
				time.Sleep(5 * time.Second)
				a.sendTo(t, p, 1, 84)
				p.want(message.TypeData, "the session is good")
			},
			span: 24 * time.Second, want: retransmissions(10, 3),
		},
		{
			name: "a persistent keepalive in a session", session: true, keepalive: 25 * time.Second,
			do:   func(*side, *scripted) {},
			span: 110 * time.Second,
			// The first was staged before the session.
			want: []string{"0s a keepalive", "25s a keepalive", "50s a keepalive", "75s a keepalive", "100s a keepalive"},
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, p := script(t, func(c *Config) { c.Peers[0].Keepalive = &test.keepalive })
			if test.session {
				if test.keepalive > 0 {
					p.want(message.TypeInitiation, "a persistent keepalive begins at once")
					time.Sleep(engine.RekeyTimeout / 2)
				}
				p.connect()
			}
			test.do(a, p)
			if heard := p.listenFor(test.span); !slices.Equal(heard, test.want) {
				t.Errorf("%s: %q, want %q", test.name, heard, test.want)
			}
		})
	}
}

// TestW17GiveUp: twenty initiations, 5 s and up to a third apart, and then
// nothing until there is a reason: a packet, or the persistent keepalive, which
// begins again after its interval, for ever.
func TestW17GiveUp(t *testing.T) {
	for _, keepalive := range []time.Duration{0, 25 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			a, p := script(t, func(c *Config) { c.Peers[0].Keepalive = &keepalive })
			if keepalive == 0 {
				a.sendTo(t, p, 1, 84)
			}
			var at []time.Duration
			for p.clock().Boot < 5*time.Minute {
				for p.hear() != nil {
					at = append(at, p.clock().Boot)
				}
				time.Sleep(time.Millisecond)
			}
			for i := 1; i < len(at); i++ {
				least, most := engine.RekeyTimeout, engine.RekeyTimeout+334*time.Millisecond
				if i%20 == 0 {
					least, most = keepalive, keepalive+time.Millisecond
				}
				if gap := at[i] - at[i-1]; gap < least || gap > most {
					t.Errorf("keepalive %v: initiation %d came after %v, want %v to %v", keepalive, i+1, gap, least, most)
				}
			}
			gaveUp := a.events.count(engine.EventGaveUp)
			if keepalive > 0 {
				if len(at) <= 40 || gaveUp != 2 {
					t.Errorf("%d initiations in 5 minutes, gave up %d times, want a third round", len(at), gaveUp)
				}
				return
			}
			if len(at) != 20 || gaveUp != 1 {
				t.Errorf("%d initiations, gave up %d times, want 20 and once", len(at), gaveUp)
			}
			if got := a.Drops()["staged"]; got != 1 {
				t.Errorf("%d staged packets dropped at the end, want the one", got)
			}
			a.sendTo(t, p, 1, 84)
			p.accept()
			p.want(message.TypeData, "a new packet begins a new handshake")
			p.silence("the old one is gone")
		})
	}
}
