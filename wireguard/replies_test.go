package wireguard

import (
	"bytes"
	"crypto/rand"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// TestW4OldInitiations: an initiation is answered once, and none whose
// timestamp is not newer than every one before.
func TestW4OldInitiations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := script(t, nil)
		now := p.clock().Wall
		first := p.initiationAt(handshake.TimestampAt(now))
		p.say(first)
		p.finish(p.want(message.TypeResponse, "the first initiation"))
		p.say(p.data(nil))
		live := p.speaker.session
		for _, test := range []struct {
			name string
			msg  []byte
		}{
			{"the same again", first},
			{"an equal timestamp", p.initiationAt(handshake.TimestampAt(now))},
			{"a nanosecond older", p.initiationAt(handshake.TimestampAt(now.Add(-time.Nanosecond)))},
			{"a second older, more nanoseconds", p.initiationAt(handshake.TimestampAt(now.Add(-time.Millisecond)))},
			{"years older", p.initiationAt(handshake.TimestampAt(now.AddDate(-10, 0, 0)))},
			{"no time at all", p.initiationAt(handshake.Timestamp{})},
		} {
			time.Sleep(time.Second) // out of the flood rule's reach
			p.sayFrom(elsewhere, test.msg)
			p.silence(test.name)
		}
		wantDrops(t, a.Device, map[string]uint64{"replay": 6})
		if to := a.endpointOf(p); to != p.at {
			t.Errorf("a replay moved the endpoint to %v", to)
		}
		p.speaker.session = live
		p.say(p.data(packet(p.inner, a.inner, 84)))
		if a.received() != 1 {
			t.Error("the session did not outlive the replays")
		}
		p.connect()
	})
}

// TestW8CookieReplies: only the first authentic reply to the last initiation
// gives a cookie, and for 115 s.
func TestW8CookieReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := script(t, func(c *Config) {
			keepalive := 25 * time.Second // begins a handshake for ever
			c.Peers[0].Keepalive = &keepalive
		})
		var cookies, others handshake.Cookies
		initiation := p.want(message.TypeInitiation, "a keepalive is due")
		next := func(why string) []byte {
			t.Helper()
			for range 60 { // between two rounds of retransmissions there is a pause
				if msg := p.hear(); msg != nil {
					return msg
				}
				time.Sleep(time.Second)
			}
			t.Fatal(why)
			return nil
		}
		stranger := newSpeaker(t, p.ephemeral(), a.private.Public(), p.clock)
		notSent := bytes.Clone(initiation)
		notSent[4] ^= 1
		otherMAC1 := bytes.Clone(initiation)
		otherMAC1[message.InitiationSize-message.MACSize-1] ^= 1
		changed := func(at int) []byte {
			b := p.cookieReply(&others, p.at, initiation)
			b[at] ^= 1
			return b
		}
		for _, test := range []struct {
			name string
			msg  []byte
			why  string
		}{
			{"forged", changed(40), "invalid"},
			{"wrong nonce", changed(8), "invalid"},
			{"an index that we did not send", p.cookieReply(&others, p.at, notSent), "state"},
			{"by another than the peer", stranger.cookieReply(&others, p.at, initiation), "invalid"},
			{"to another message", p.cookieReply(&others, p.at, otherMAC1), "invalid"},
		} {
			before := a.Drops()[test.why]
			p.say(test.msg)
			if got := a.Drops()[test.why]; got != before+1 {
				t.Errorf("%s: dropped %v, want it among %q", test.name, a.Drops(), test.why)
			}
		}
		initiation = next("there is no retransmission")
		if mac2 := initiation[message.InitiationSize-message.MACSize:]; !bytes.Equal(mac2, make([]byte, message.MACSize)) {
			t.Fatalf("mac2 %x of a cookie that nobody gave", mac2)
		}

		reply := p.cookieReply(&cookies, p.at, initiation)
		second := p.cookieReply(&others, p.at, initiation)
		got := p.clock().Boot
		p.say(reply, second, reply)
		p.silence("a cookie waits for the next retransmission")
		for {
			initiation = next("the initiations end")
			age := p.clock().Boot - got
			used := cookies.CheckMAC2(p.clock().Boot, p.at, initiation)
			if age >= 130*time.Second {
				break
			}
			if fresh := age < 115*time.Second; used != fresh {
				t.Errorf("mac2 valid %t after %v, want %t", used, age, fresh)
			}
			p.say(reply) // now it belongs to an older initiation
		}
	})
}

// TestW12GarbageResponse: a response with the right index and mac1 that does
// not authenticate comes before the true one, a hundred times.
func TestW12GarbageResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rounds = 100
		a, p := script(t, nil)
		for round := range rounds {
			a.sendTo(t, p, 1, 84)
			initiation := p.want(message.TypeInitiation, "the session is too old")
			m, _ := message.ParseInitiation(initiation)
			garbage := message.Response{Sender: 7, Receiver: m.Sender}
			_, _ = rand.Read(garbage.Ephemeral[:])
			b := make([]byte, message.ResponseSize)
			garbage.Put(b)
			new(handshake.Signer).Sign(0, p.remote, b)
			p.sayFrom(elsewhere, b)
			p.silence("garbage")
			p.say(p.answer(initiation))
			if got := p.open(p.want(message.TypeData, "the true response")); len(got) != 96 {
				t.Fatalf("round %d: %d bytes, want the packet with its padding", round, len(got))
			}
			p.say(p.data(nil))
			time.Sleep(engine.RejectAfterTime)
		}
		wantDrops(t, a.Device, map[string]uint64{"invalid": rounds})
	})
}

// TestW23LowOrderAndOwnKeys: such peers are taken and stay silent, like the
// kernel's.
func TestW23LowOrderAndOwnKeys(t *testing.T) {
	lowOrder := [][32]byte{
		{},
		{1},
		{31: 128},
		{1, 31: 128},
		{236, 31: 127},
		{237, 31: 127},
		{238, 31: 127},
	}
	for i := range lowOrder {
		if i >= 4 {
			for j := 1; j < 31; j++ {
				lowOrder[i][j] = 255
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		a, p := script(t, nil)
		keepalive := 10 * time.Second
		change := Change{Peers: []PeerChange{{PeerChange: engine.PeerChange{
			PublicKey: a.private.Public(), Endpoint: &p.at, Keepalive: &keepalive,
			AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.9.9.9/32")},
		}}}}
		for i, k := range lowOrder {
			change.Peers = append(change.Peers, PeerChange{PeerChange: engine.PeerChange{
				PublicKey: key.PublicFrom(k), Endpoint: &p.at, Keepalive: &keepalive,
				AllowedIPs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}), 32)},
			}})
		}
		if err := a.Apply(change); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Route(netip.MustParseAddr("10.9.9.9")); err != ErrNoPeer {
			t.Errorf("a peer with our own key: %v, want ErrNoPeer", err)
		}
		for i := range lowOrder {
			r, err := a.Route(netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}))
			if err != nil {
				t.Fatal(err)
			}
			b := a.NewBatch(r, 84)
			copy(b.Add(84), packet(a.inner, p.inner, 84))
			a.Send(b)
		}
		time.Sleep(time.Minute)
		p.silence("low-order keys")
		if got := a.Drops()["low-order"]; got < uint64(len(lowOrder)) {
			t.Errorf("dropped %v, want every handshake with a low-order key", a.Drops())
		}
		for _, s := range a.Snapshot().Peers {
			if s.Sent+s.Received != 0 || !s.LastHandshake.IsZero() {
				t.Errorf("peer %s: %d bytes sent", s.PublicKey.Short(), s.Sent)
			}
		}
		if n := len(a.Snapshot().Peers); n != 1+len(lowOrder) {
			t.Errorf("%d peers, want ours ignored and the others taken", n)
		}
	})
}

// TestW25Stranger: a valid initiation by a static key that is no peer's is met
// with silence. It costs what an initiation of a peer that is refused costs,
// one Diffie-Hellman computation; the test prints both.
func TestW25Stranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := script(t, nil)
		p.say(forged(t, a.private.Public()))
		p.silence("a stranger")
		wantDrops(t, a.Device, map[string]uint64{"unknown-peer": 1})
		p.connect()
	})

	private, known := ephemeralKey(t), ephemeralKey(t)
	d, err := New(Config{PrivateKey: private, Deliver: func([][]byte) {}, Peers: []PeerChange{
		{PeerChange: engine.PeerChange{PublicKey: known.Public()}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var out engine.Output
	d.engine.Up(d.clock(), &out)
	s := newSpeaker(t, known, private.Public(), d.clock)
	median := func(msg []byte) time.Duration {
		var took [200]time.Duration
		for i := range took {
			start := time.Now()
			d.engine.Handshake(d.clock(), engine.Endpoint{Addr: elsewhere}, msg, &out)
			took[i] = time.Since(start)
			out.Reset()
		}
		slices.Sort(took[:])
		return took[len(took)/2]
	}
	replayed := s.initiation()
	d.engine.Handshake(d.clock(), engine.Endpoint{Addr: elsewhere}, replayed, &out)
	t.Logf("median of 200: unknown %v, known but refused %v", median(forged(t, private.Public())), median(replayed))
	if drops := d.Drops(); drops["unknown-peer"] != 200 || drops["replay"] != 200 {
		t.Errorf("dropped %v, want 200 of each", drops)
	}
}
