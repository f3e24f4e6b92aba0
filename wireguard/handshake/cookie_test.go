package handshake

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/message"
)

var home = netip.MustParseAddrPort("192.0.2.1:51820")

// cookieTest is a pair whose bob is under load.
type cookieTest struct {
	*pair
	cookies Cookies
}

func newCookieTest(t *testing.T, seed byte) *cookieTest {
	return &cookieTest{pair: newPair(t, seed)}
}

// send has alice sign a new initiation at now.
func (c *cookieTest) send(now time.Duration) []byte {
	c.t.Helper()
	_, m := c.initiate()
	b := make([]byte, message.InitiationSize)
	m.Put(b)
	c.alice.signer.Sign(now, c.alice.remote, b)
	if !c.bob.id.CheckMAC1(b) {
		c.t.Fatal("a signed initiation has no valid mac1")
	}
	return b
}

// reply has bob answer msg, which came from home, at now.
func (c *cookieTest) reply(now time.Duration, msg []byte) message.CookieReply {
	c.t.Helper()
	m, err := c.cookies.Reply(now, c.bob.id, home, msg, c.random)
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// accepts has alice take m at now.
func (c *cookieTest) accepts(now time.Duration, m message.CookieReply) bool {
	return c.alice.signer.Accept(now, c.alice.remote, &m)
}

// valid has bob check mac2 of msg, which came from home, at now.
func (c *cookieTest) valid(now time.Duration, msg []byte) bool {
	return c.cookies.CheckMAC2(now, home, msg)
}

func mac2(msg []byte) []byte {
	return msg[len(msg)-message.MACSize:]
}

func TestCookieRoundTrip(t *testing.T) {
	c := newCookieTest(t, 20)
	first := c.send(0)
	if !bytes.Equal(mac2(first), make([]byte, 16)) || c.valid(0, first) {
		t.Error("the first initiation has a mac2")
	}
	m := c.reply(0, first)
	if m.Receiver != aliceIndex {
		t.Errorf("cookie reply to %#x, want the sender of the initiation", m.Receiver)
	}
	if c.valid(0, first) {
		t.Error("a mac2 of zeros is valid once there is a secret")
	}
	if !c.accepts(0, m) {
		t.Fatal("cookie reply refused")
	}
	if second := c.send(0); !c.valid(0, second) {
		t.Error("the second initiation has no valid mac2")
	}

	// The cookie serves for responses too: a busy initiator asks for it.
	i, initiation := c.initiate()
	response, _ := c.respond(&initiation, nil)
	b := c.signedResponse(&response)
	m, err := c.cookies.Reply(0, c.alice.id, home, b, c.random)
	if err != nil || m.Receiver != bobIndex || !c.bob.signer.Accept(0, c.bob.remote, &m) {
		t.Fatalf("cookie reply to a response: to %#x, %v", m.Receiver, err)
	}
	if b = c.signedResponse(&response); !c.valid(0, b) || !c.alice.id.CheckMAC1(b) {
		t.Error("the second response has no valid mac2")
	}
	if _, err := i.Finish(c.alice.id, nil, &response); err != nil {
		t.Error(err)
	}
}

// TestCookieIsForOneSource binds a cookie to address and port.
func TestCookieIsForOneSource(t *testing.T) {
	c := newCookieTest(t, 21)
	for _, tt := range []struct {
		given, used string
		want        bool
	}{
		{"192.0.2.1:51820", "192.0.2.1:51820", true},
		{"192.0.2.1:51820", "192.0.2.1:51821", false},
		{"192.0.2.1:51820", "192.0.2.1:27850", false}, // The port's bytes exchanged.
		{"192.0.2.1:51820", "192.0.2.2:51820", false},
		{"192.0.2.1:51820", "[::ffff:192.0.2.1]:51820", true}, // What a dual-stack socket reports.
		{"[::ffff:192.0.2.1]:51820", "192.0.2.1:51820", true},
		{"192.0.2.1:51820", "[::192.0.2.1]:51820", false},
		{"[2001:db8::1]:51820", "[2001:db8::1]:51820", true},
		{"[2001:db8::1]:51820", "[2001:db8::1]:51821", false},
		{"[2001:db8::1]:51820", "[2001:db8::2]:51820", false},
	} {
		first := c.send(0)
		m, err := c.cookies.Reply(0, c.bob.id, netip.MustParseAddrPort(tt.given), first, c.random)
		if err != nil || !c.accepts(0, m) {
			t.Fatalf("cookie reply: %v", err)
		}
		if got := c.cookies.CheckMAC2(0, netip.MustParseAddrPort(tt.used), c.send(0)); got != tt.want {
			t.Errorf("cookie of %s used from %s: %t, want %t", tt.given, tt.used, got, tt.want)
		}
	}
}

// TestCookieSecretLife is the responder's side of time: a secret of 120 s.
func TestCookieSecretLife(t *testing.T) {
	const born = 1000 * time.Hour
	c := newCookieTest(t, 22)
	if !c.accepts(born, c.reply(born, c.send(born))) {
		t.Fatal("cookie reply refused")
	}
	msg := c.send(born)
	for _, tt := range []struct {
		age  time.Duration
		want bool
	}{{0, true}, {119 * time.Second, true}, {120*time.Second - 1, true}, {120 * time.Second, false}, {time.Hour, false}} {
		if got := c.valid(born+tt.age, msg); got != tt.want {
			t.Errorf("mac2 after %v: %t, want %t", tt.age, got, tt.want)
		}
	}
	secret := c.cookies.secret
	c.reply(born+120*time.Second-1, msg)
	if c.cookies.secret != secret {
		t.Error("the secret changed before 120 s")
	}
	c.reply(born+120*time.Second, msg)
	if c.cookies.secret == secret {
		t.Error("the secret is the same after 120 s")
	}
	if c.valid(born+120*time.Second, msg) {
		t.Error("a mac2 of the old secret is valid under the new one")
	}
}

// TestCookieUse is the initiator's side of time: a cookie is used for 115 s.
func TestCookieUse(t *testing.T) {
	const got = 1000 * time.Hour
	c := newCookieTest(t, 23)
	if !c.accepts(got, c.reply(got, c.send(got))) {
		t.Fatal("cookie reply refused")
	}
	for _, age := range []time.Duration{0, 5 * time.Second, 115*time.Second - 1} {
		if !c.valid(got+age, c.send(got+age)) {
			t.Errorf("no valid mac2 after %v", age)
		}
	}
	msg := bytes.Repeat([]byte{0xff}, message.InitiationSize)
	c.alice.signer.Sign(got+115*time.Second, c.alice.remote, msg)
	if !bytes.Equal(mac2(msg), make([]byte, 16)) {
		t.Error("mac2 after 115 s is not zero")
	}
	if c.alice.signer.cookie != [16]byte{} {
		t.Error("the old cookie is kept")
	}
	if !c.accepts(got+116*time.Second, c.reply(got+121*time.Second, msg)) {
		t.Error("a new cookie is refused after the old one's end")
	}
}

// TestCookieReplyRefused takes a reply only to the last message, once.
func TestCookieReplyRefused(t *testing.T) {
	c := newCookieTest(t, 24)
	if c.accepts(0, message.CookieReply{}) {
		t.Error("reply before any message")
	}

	first := c.send(0)
	early := c.reply(0, first)
	second := c.send(0)
	if c.accepts(0, early) {
		t.Error("reply to the message before the last")
	}

	good := c.reply(0, second)
	wrongNonce := good
	wrongNonce.Nonce[23] ^= 1
	forged := good
	c.random.Read(forged.Cookie[:])
	other := newCookieTest(t, 25).reply(0, second) // Not by bob.
	for name, m := range map[string]message.CookieReply{"wrong nonce": wrongNonce, "forged": forged, "another host's": other, "empty": {}} {
		if c.accepts(0, m) {
			t.Errorf("%s: accepted", name)
		}
	}
	if third := c.send(0); !bytes.Equal(mac2(third), make([]byte, 16)) {
		t.Error("mac2 after refused replies is not zero")
	}
	if c.accepts(0, good) {
		t.Error("reply to the message before the last, again")
	}

	last := c.send(0)
	good = c.reply(0, last)
	again := c.reply(0, last)
	if !c.accepts(0, good) {
		t.Error("the true reply is refused after the others")
	}
	if c.accepts(0, good) {
		t.Error("replayed reply")
	}
	if c.accepts(0, again) {
		t.Error("second reply to one message")
	}
	if !c.valid(0, c.send(0)) {
		t.Error("the refused replies took the cookie away")
	}
}

// TestCookieRandomness makes no reply without randomness, and no secret of
// less than 32 random bytes.
func TestCookieRandomness(t *testing.T) {
	c := newCookieTest(t, 26)
	msg := c.send(0)
	for n := range 56 {
		cookies := Cookies{}
		m, err := cookies.Reply(0, c.bob.id, home, msg, io.LimitReader(c.random, int64(n)))
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) || m != (message.CookieReply{}) {
			t.Errorf("%d random bytes: %v", n, err)
		}
		if cookies.hasSecret != (n >= 32) {
			t.Errorf("%d random bytes: secret %t", n, cookies.hasSecret)
		}
	}
	if a, b := c.reply(0, msg), c.reply(0, msg); a.Nonce == b.Nonce {
		t.Error("one nonce came twice")
	}
	if c.cookies.secret == [32]byte{} {
		t.Error("the secret is zero")
	}
}
