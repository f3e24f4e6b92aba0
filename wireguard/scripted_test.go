package wireguard

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// Other engines differ from the kernel. Here a scripted peer plays what they
// do, one difference at a time, in both roles where that makes one.

// futureBase is how far BoringTun's timestamps are ahead: it counts TAI64 from
// 2^62 + 37, all others from 2^62 + 10.
const futureBase = 27 * time.Second

// inBothRoles runs a dialogue in a session that the peer began, and in one that
// the Device did.
func inBothRoles(t *testing.T, dialogue func(t *testing.T, a *side, p *scripted)) {
	for name, begin := range map[string]func(a *side, p *scripted){
		"the peer begins": func(_ *side, p *scripted) { p.connect() },
		"the Device begins": func(a *side, p *scripted) {
			a.sendTo(t, p, 1, 84)
			p.accept()
			p.open(p.want(message.TypeData, "the staged packet"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, p := script(t, nil)
				begin(a, p)
				dialogue(t, a, p)
			})
		})
	}
}

// TestUnpaddedPeer: BoringTun does not pad. Packets of every length arrive as
// they were, and ours are padded whatever the peer does.
func TestUnpaddedPeer(t *testing.T) {
	inBothRoles(t, func(t *testing.T, a *side, p *scripted) {
		for size := 20; size <= 120; size++ {
			sent := packet(p.inner, a.inner, size)
			p.say(p.data(sent))
			if got := a.received(); got != size-19 || !bytes.Equal(a.got[got-1], sent) {
				t.Fatalf("%d bytes: %d packets arrived, want %d and the last as it was sent", size, got, size-19)
			}
			a.sendTo(t, p, 1, size)
			plain := p.open(p.want(message.TypeData, "the session is good"))
			if len(plain)%16 != 0 || len(plain)-size >= 16 {
				t.Fatalf("a packet of %d bytes was padded to %d", size, len(plain))
			}
		}
		wantDrops(t, a.Device, map[string]uint64{})
	})
}

// TestFutureTimestamps: a peer whose timestamps are 27 s ahead, and not
// rounded, is served. When another engine then takes over its key, its
// handshakes are refused for 27 s, as they must be, and the counter says why.
func TestFutureTimestamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := script(t, nil)
		p.ahead = futureBase
		p.connect()
		time.Sleep(time.Second)
		unrounded := handshake.TimestampAt(p.clock().Wall.Add(futureBase))
		binary.BigEndian.PutUint32(unrounded[8:], 123456789)
		p.say(p.initiationAt(unrounded))
		p.finish(p.want(message.TypeResponse, "a timestamp of any grain"))
		p.say(p.data(packet(p.inner, a.inner, 84)))
		replaced := time.Now()

		p.ahead = 0
		refused := uint64(0)
		for p.say(p.initiation()); ; p.say(p.initiation()) {
			heard := p.hear()
			if kind, _ := message.Classify(heard); kind == message.TypeResponse {
				p.finish(heard)
				break
			}
			refused++ // all that may be heard is a passive keepalive
			if got := a.Drops()["replay"]; got != refused {
				t.Fatalf("%d refusals, dropped %v: a replaced client must show", refused, a.Drops())
			}
			time.Sleep(time.Second)
		}
		if took := time.Since(replaced); took < futureBase || took > futureBase+time.Second {
			t.Errorf("the new client was let in after %v, want %v", took, futureBase)
		}
		p.say(p.data(packet(p.inner, a.inner, 84)))
		if a.received() != 2 {
			t.Errorf("%d packets arrived, want one of each client", a.received())
		}
	})
}

// TestReplacesFutureClient: our Device takes over the key of a client with
// timestamps 27 s ahead. The server is silent for that long; the Device tries
// every 5 s, says so, and its packets leave with the first handshake that is
// accepted.
func TestReplacesFutureClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := script(t, nil)
		newest := handshake.TimestampAt(p.clock().Wall.Add(futureBase))
		a.sendTo(t, p, 3, 84)
		start, ignored := time.Now(), 0
		for {
			initiation := p.hear()
			if initiation == nil {
				time.Sleep(100 * time.Millisecond)
				continue
			}
			if _, stamp := p.read(initiation); stamp.After(newest) {
				p.say(p.answer(initiation))
				break
			}
			ignored++
		}
		for range 3 {
			p.open(p.want(message.TypeData, "what was staged"))
		}
		if took := time.Since(start); took < futureBase || took > futureBase+engine.RekeyTimeout+400*time.Millisecond {
			t.Errorf("connected after %v, want with the first try after %v", took, futureBase)
		}
		if got := a.events.count(engine.EventInitiation); got != ignored+1 {
			t.Errorf("%d initiations reported, want %d", got, ignored+1)
		}
	})
}

// TestPeerWithoutJitter: a peer that begins in the same tick as we do, and
// retransmits every 5 s to the millisecond. Our jitter and our wait after a
// response must be enough to come apart.
func TestPeerWithoutJitter(t *testing.T) {
	const rounds, latency, tick = 20, 50 * time.Millisecond, 5 * time.Millisecond
	slowest := time.Duration(0)
	for range rounds {
		synctest.Test(t, func(t *testing.T) {
			a, p := script(t, nil)
			later := func(from, to netip.AddrPort, msg []byte) [][]byte {
				time.AfterFunc(latency, func() { p.net.inject(from, to, msg) })
				return nil
			}
			p.net.setTap(later)
			a.sendTo(t, p, 1, 84)
			connected := time.Duration(0)
			for at := time.Duration(0); at < 30*time.Second && connected == 0; at += tick {
				if at%engine.RekeyTimeout == 0 {
					later(p.at, p.to, p.initiation())
				}
				for msg := p.hear(); msg != nil; msg = p.hear() {
					switch kind, _ := message.Classify(msg); {
					case kind == message.TypeInitiation:
						later(p.at, p.to, p.answer(msg))
						p.pending = nil // it has one handshake at a time
					case kind == message.TypeResponse && p.pending != nil:
						p.finish(msg)
						later(p.at, p.to, p.data(nil))
					case kind == message.TypeData:
						connected = at // in the newest session or, as engines have three, the one before
					}
				}
				time.Sleep(tick)
			}
			if connected == 0 {
				t.Error("six rounds crossed")
			}
			slowest = max(slowest, connected)
		})
	}
	t.Logf("the slowest of %d took %v", rounds, slowest)
}

// TestSilentUnderLoad: a peer that drops handshakes under load and gives no
// cookie, as BoringTun does where it knows no source address. The Device goes
// on at its own pace.
func TestSilentUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ignored = 5
		a, p := script(t, nil)
		a.sendTo(t, p, 1, 84)
		for range ignored {
			initiation := p.want(message.TypeInitiation, "a try")
			if mac2 := initiation[message.InitiationSize-message.MACSize:]; !bytes.Equal(mac2, make([]byte, message.MACSize)) {
				t.Error("a mac2 without a cookie")
			}
			time.Sleep(engine.RekeyTimeout + 334*time.Millisecond)
		}
		p.accept()
		p.open(p.want(message.TypeData, "the staged packet"))
	})
}

// TestCookieWithoutPort: BoringTun's cookie is for an address and any port. To
// us a cookie is 16 bytes, whatever it is made of: it comes back in mac2, of
// initiations and of responses, and also after we moved to another port.
func TestCookieWithoutPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := script(t, nil)
		anyPort := netip.AddrPortFrom(p.to.Addr(), 0)
		var cookies handshake.Cookies
		a.sendTo(t, p, 1, 84)
		initiation := p.want(message.TypeInitiation, "a first try")
		p.say(p.cookieReply(&cookies, anyPort, initiation))
		port := p.to.Port() + 1
		if err := a.Apply(Change{ListenPort: &port}); err != nil {
			t.Fatal(err)
		}
		p.to = netip.AddrPortFrom(p.to.Addr(), port)
		time.Sleep(engine.RekeyTimeout + time.Second)
		initiation = p.want(message.TypeInitiation, "a second try")
		if !cookies.CheckMAC2(p.clock().Boot, anyPort, initiation) {
			t.Fatal("the cookie did not come back")
		}
		p.say(p.answer(initiation))
		p.open(p.want(message.TypeData, "the staged packet"))
	})
	synctest.Test(t, func(t *testing.T) {
		_, p := script(t, nil)
		anyPort := netip.AddrPortFrom(p.to.Addr(), 0)
		var cookies handshake.Cookies
		p.say(p.initiation())
		response := p.want(message.TypeResponse, "a first try")
		p.say(p.cookieReply(&cookies, anyPort, response))
		time.Sleep(engine.RekeyTimeout)
		p.say(p.initiation())
		response = p.want(message.TypeResponse, "a second try")
		if !cookies.CheckMAC2(p.clock().Boot, anyPort, response) {
			t.Fatal("the cookie did not come back")
		}
		p.finish(response)
	})
}

// TestCookieUseOfOthers: how other engines use the cookies that we give.
func TestCookieUseOfOthers(t *testing.T) {
	for _, test := range []struct {
		name string
		wait time.Duration // from the cookie to the next initiation
		lag  time.Duration // how much younger the peer takes the cookie to be
		from netip.AddrPort
		want message.Type
	}{
		{name: "at once, and not with the next retransmission", want: message.TypeResponse},
		{name: "after 119 s, like wireguard-go", wait: 119 * time.Second, lag: 10 * time.Second, want: message.TypeResponse},
		{name: "after 121 s, and so too late", wait: 121 * time.Second, lag: 10 * time.Second, want: message.TypeCookieReply},
		{name: "not at all", wait: 116 * time.Second, want: message.TypeCookieReply},
		{name: "from another port", from: netip.MustParseAddrPort("192.0.2.2:9"), want: message.TypeCookieReply},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, p := script(t, nil)
				a.overload(t)
				p.say(p.initiation())
				reply, ok := message.ParseCookieReply(p.want(message.TypeCookieReply, "the Device is under load"))
				if !ok || reply.Receiver != p.index || !p.signer.Accept(p.clock().Boot, p.remote, &reply) {
					t.Fatal("the cookie reply is no good")
				}
				time.Sleep(test.wait)
				a.overload(t)
				p.lag = test.lag
				msg := p.initiation()
				if test.from.IsValid() {
					other := listen(t, p.net, p.speaker, test.from, p.to)
					other.say(msg)
					other.want(test.want, test.name)
					return
				}
				p.say(msg)
				p.want(test.want, test.name)
			})
		})
	}
}

// TestPeerIgnoresCookies: it is not let in under load, and as soon as that is
// over it is. Its session goes on meanwhile.
func TestPeerIgnoresCookies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := script(t, nil)
		p.connect()
		live := p.session
		for i := range 5 {
			a.overload(t)
			p.say(p.initiation())
			p.want(message.TypeCookieReply, "the Device is under load")
			next := p.session
			p.session = live
			p.say(p.data(packet(p.inner, a.inner, 84)))
			live, p.session = p.session, next
			if a.received() != i+1 {
				t.Fatal("load stalls data")
			}
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(time.Second)
		p.connect()
	})
}
