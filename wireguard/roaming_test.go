package wireguard

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// TestW16Roaming: the endpoint follows what is authentic and new, whatever it
// is, and nothing else.
func TestW16Roaming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := script(t, nil)
		p.connect()
		payload := packet(p.inner, a.inner, 84)
		old := p.data(payload)
		p.say(old)
		at := p.at
		for i, test := range []struct {
			name  string
			msg   func() []byte
			moves bool
		}{
			{"data", func() []byte { return p.data(payload) }, true},
			{"a keepalive", func() []byte { return p.data(nil) }, true},
			{"a packet that AllowedIPs refuse", func() []byte { return p.data(packet(a.inner, p.inner, 84)) }, true},
			{"an initiation", func() []byte { return p.initiation() }, true},
			{"replayed data", func() []byte { return old }, false},
			{"data out of the window", func() []byte {
				p.sayFrom(at, p.dataAt(20000, nil))
				return p.dataAt(10000, payload)
			}, false},
			{"late data inside the window", func() []byte { return p.dataAt(19999, payload) }, true},
			{"changed data", func() []byte {
				b := p.dataAt(20001, payload)
				b[len(b)-1] ^= 1
				return b
			}, false},
			{"a stranger's initiation", func() []byte { return forged(t, a.private.Public()) }, false},
			{"a changed initiation with a valid mac1", func() []byte {
				b := p.initiation()
				b[100] ^= 1
				p.sign(b)
				return b
			}, false},
			{"junk", func() []byte { return []byte("junk") }, false},
		} {
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), uint16(1000+i))
			time.Sleep(time.Second) // initiations must be newer
			p.sayFrom(from, test.msg())
			want := at
			if test.moves {
				want = from
			}
			if at = a.endpointOf(p); at != want {
				t.Errorf("%s from %v: the endpoint is %v, want %v", test.name, from, at, want)
			}
		}
		if got, want := a.events.count(engine.EventEndpoint), 5; got != want {
			t.Errorf("%d moves reported, want %d", got, want)
		}
	})
}

// TestRoamingResponse: who answers an initiation is where the peer is, and a
// cookie reply or a forged response tells nothing about that.
func TestRoamingResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := script(t, nil)
		a.sendTo(t, p, 1, 84)
		initiation := p.want(message.TypeInitiation, "there is something to send")
		var cookies handshake.Cookies
		p.sayFrom(elsewhere, p.cookieReply(&cookies, p.at, initiation))
		if to := a.endpointOf(p); to != p.at {
			t.Errorf("a cookie reply moved the endpoint to %v", to)
		}
		response := p.answer(initiation)
		response[50] ^= 1
		p.sign(response)
		p.sayFrom(elsewhere, response)
		if to := a.endpointOf(p); to != p.at {
			t.Errorf("a forged response moved the endpoint to %v", to)
		}
		p.sayFrom(elsewhere, p.answer(initiation))
		if to := a.endpointOf(p); to != elsewhere {
			t.Errorf("the endpoint is %v, want %v where the response came from", to, elsewhere)
		}
		p.silence("the staged packet follows")
	})
}

// TestRoamingFamilies: a peer goes from IPv4 to IPv6 and back in one session,
// and what we send follows it at once.
func TestRoamingFamilies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		here6 := netip.MustParseAddrPort("[2001:db8::1]:51820")
		there6 := netip.MustParseAddrPort("[2001:db8::2]:7")
		clock := &testClock{start: time.Now()}
		sides := pairOf(t, n, clock, func(_ int, c *Config) {
			c.ListenPacket = n.host(netip.MustParseAddr("192.0.2.1"), here6.Addr())
		})
		a, b := sides[0], sides[1]
		s := newSpeaker(t, b.private, a.private.Public(), clock.now)
		p4, p6 := listen(t, n, s, b.outer, a.outer), listen(t, n, s, there6, here6)
		p4.inner = b.inner
		run(t, a)
		<-a.Ready()
		p4.connect()
		for range 3 {
			for _, p := range []*scripted{p6, p4} {
				p.say(s.data(nil))
				if to := a.endpointOf(p); to != p.at {
					t.Fatalf("the endpoint is %v, want %v", to, p.at)
				}
				a.sendTo(t, p4, 1, 84)
				p.open(p.want(message.TypeData, "what is sent follows the peer"))
			}
		}
		p4.silence("what went there was heard")
		if n := a.events.count(engine.EventHandshake); n != 1 {
			t.Errorf("%d handshakes, want the one at the start", n)
		}
	})
}

// TestRoamingNAT: a NAT between two devices gives the first another port every
// few seconds, and their traffic goes on both ways.
func TestRoamingNAT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const seconds, rebinding = 300, 7
		n := newMemNet()
		sides := pairOf(t, n, &testClock{start: time.Now()}, func(i int, c *Config) {
			if i == 1 {
				c.Peers[0].Endpoint = nil // it is called, and learns
			}
		})
		a, b := sides[0], sides[1]
		var port uint16
		n.setTap(func(from, to netip.AddrPort, msg []byte) [][]byte {
			n.mu.Lock()
			outside := netip.AddrPortFrom(from.Addr(), port)
			n.mu.Unlock()
			switch {
			case from == a.outer:
				n.inject(outside, to, msg)
			case to == netip.AddrPortFrom(a.outer.Addr(), port):
				n.inject(from, a.outer, msg)
			}
			return nil // what is for an old port is lost
		})
		run(t, sides[:]...)
		synctest.Wait()
		sent := 0
		for second := range seconds {
			if second%rebinding == 0 {
				n.mu.Lock()
				port++
				n.mu.Unlock()
			}
			a.send(t, b, 1, 84)
			synctest.Wait()
			b.send(t, a, 1, 84)
			sent++
			time.Sleep(time.Second)
		}
		if a.received() != sent || b.received() != sent {
			t.Errorf("%d and %d packets of %d arrived", a.received(), b.received(), sent)
		}
		if got, want := b.events.count(engine.EventEndpoint), (seconds+rebinding-1)/rebinding; got != want {
			t.Errorf("%d moves, want %d", got, want)
		}
	})
}
