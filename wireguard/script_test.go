package wireguard

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// speaker makes and reads the messages of one peer, without an engine: it has
// no timers, no rules and no network, and says what the test makes it say.
type speaker struct {
	testing.TB
	clock  func() engine.Time
	id     *handshake.Identity
	remote *handshake.Remote // the Device
	psk    key.Preshared
	ahead  time.Duration // how far its timestamps are ahead of the clock
	lag    time.Duration // how much younger it takes its cookies to be

	signer  handshake.Signer
	index   uint32 // the newest of its own
	pending *handshake.Initiator
	session
}

// session is the newest session of a speaker.
type session struct {
	keys          handshake.Keys
	send, receive cipher.AEAD
	local, remote uint32
	counter       uint64 // the next to send with
}

func newSpeaker(t testing.TB, private key.Private, device key.Public, clock func() engine.Time) *speaker {
	id := handshake.NewIdentity(private)
	return &speaker{TB: t, clock: clock, id: id, remote: handshake.NewRemote(id, device), index: 1000}
}

// initiation begins a handshake.
func (s *speaker) initiation() []byte {
	s.Helper()
	return s.initiationAt(handshake.TimestampAt(s.clock().Wall.Add(s.ahead)))
}

// initiationAt begins a handshake with any timestamp.
func (s *speaker) initiationAt(stamp handshake.Timestamp) []byte {
	s.Helper()
	s.index++
	state, m, err := handshake.Initiate(s.id, s.remote, s.index, stamp, s.ephemeral())
	if err != nil {
		s.Fatal(err)
	}
	s.pending = state
	b := make([]byte, message.InitiationSize)
	m.Put(b)
	s.sign(b)
	return b
}

// sign makes the MACs of a message, or makes them again.
func (s *speaker) sign(msg []byte) { s.signer.Sign(s.clock().Boot-s.lag, s.remote, msg) }

// finish completes the handshake that initiation began.
func (s *speaker) finish(response []byte) {
	s.Helper()
	m, ok := message.ParseResponse(response)
	if !ok || m.Receiver != s.index {
		s.Fatalf("no response to initiation %d: %x", s.index, response)
	}
	keys, err := s.pending.Finish(s.id, &s.psk, &m)
	if err != nil {
		s.Fatal(err)
	}
	s.begin(keys, m.Receiver, m.Sender)
}

// answer makes the response to an initiation of the Device.
func (s *speaker) answer(initiation []byte) []byte {
	s.Helper()
	r, _ := s.read(initiation)
	s.index++
	m, keys, err := r.Respond(s.remote, &s.psk, s.index, s.ephemeral())
	if err != nil {
		s.Fatal(err)
	}
	s.begin(keys, s.index, m.Receiver)
	s.session.remote = m.Receiver
	b := make([]byte, message.ResponseSize)
	m.Put(b)
	s.sign(b)
	return b
}

// read opens an initiation of the Device.
func (s *speaker) read(initiation []byte) (*handshake.Responder, handshake.Timestamp) {
	s.Helper()
	m, ok := message.ParseInitiation(initiation)
	if !ok || !s.id.CheckMAC1(initiation) {
		s.Fatalf("no initiation for us: %x", initiation)
	}
	r, err := handshake.Receive(s.id, &m)
	if err != nil {
		s.Fatal(err)
	}
	stamp, err := r.Authenticate(s.remote)
	if err != nil {
		s.Fatal(err)
	}
	return r, stamp
}

func (s *speaker) begin(keys handshake.Keys, local, remote uint32) {
	s.session = session{
		keys: keys, send: aead(s, keys.Send), receive: aead(s, keys.Receive), local: local, remote: remote,
	}
}

// cookieReply is the answer to a message of the Device under load, with the
// cookie that is given to from.
func (s *speaker) cookieReply(c *handshake.Cookies, from netip.AddrPort, msg []byte) []byte {
	s.Helper()
	m, err := c.Reply(s.clock().Boot, s.id, from, msg, rand.Reader)
	if err != nil {
		s.Fatal(err)
	}
	b := make([]byte, message.CookieReplySize)
	m.Put(b)
	return b
}

func (s *speaker) ephemeral() key.Private { return ephemeralKey(s) }

func ephemeralKey(t testing.TB) key.Private {
	t.Helper()
	k, err := key.NewPrivate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// data seals plain as it is, without padding. A keepalive has none.
func (s *speaker) data(plain []byte) []byte {
	s.counter++
	return s.dataAt(s.counter-1, plain)
}

// dataAt seals plain with any counter.
func (s *speaker) dataAt(counter uint64, plain []byte) []byte {
	b := make([]byte, message.DataHeaderSize, message.DataMinSize+len(plain))
	message.PutDataHeader(b, 0, counter)
	nonce := bytes.Clone(b[4:])
	message.PutDataHeader(b, s.session.remote, counter)
	return s.send.Seal(b, nonce, plain, nil)
}

// open is the plaintext of a data message of the newest session.
func (s *speaker) open(msg []byte) []byte {
	s.Helper()
	if kind, _ := message.Classify(msg); kind != message.TypeData || message.DataReceiver(msg) != s.local {
		s.Fatalf("no data of this session: %x", msg)
	}
	nonce := bytes.Clone(msg[4:message.DataHeaderSize])
	clear(nonce[:4])
	plain, err := s.receive.Open(nil, nonce, msg[message.DataHeaderSize:], nil)
	if err != nil {
		s.Fatal(err)
	}
	return plain
}

func aead(t testing.TB, k [32]byte) cipher.AEAD {
	a, err := chacha20poly1305.New(k[:])
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// scripted is a speaker on a network in memory, in a synctest bubble: the
// dialogue is what it sends and what comes back before everybody waits.
type scripted struct {
	*speaker
	net    *memNet
	conn   *memConn
	inner  netip.Addr
	at, to netip.AddrPort
}

// script makes a pair whose second side is scripted and whose first runs.
// mutate may change the first side's Config.
func script(t *testing.T, mutate func(c *Config)) (*side, *scripted) {
	t.Helper()
	n := newMemNet()
	clock := &testClock{start: time.Now()}
	sides := pairOf(t, n, clock, func(i int, c *Config) {
		if i == 0 && mutate != nil {
			mutate(c)
		}
	})
	p := listen(t, n, newSpeaker(t, sides[1].private, sides[0].private.Public(), clock.now), sides[1].outer, sides[0].outer)
	p.inner = sides[1].inner
	run(t, sides[0])
	<-sides[0].Ready()
	return sides[0], p
}

// sendTo sends count packets of size bytes to a scripted peer, in one batch.
func (s *side) sendTo(t *testing.T, p *scripted, count, size int) {
	t.Helper()
	s.send(t, &side{inner: p.inner}, count, size)
}

// overload has a Device take itself to be under load, for a second.
func (s *side) overload(t *testing.T) {
	t.Helper()
	var out engine.Output
	backlog := engine.Backlog{Waiting: maxHandshakes / 8, Limit: maxHandshakes}
	s.engine.Admit(s.clock(), engine.Endpoint{Addr: elsewhere}, forged(t, s.private.Public()), backlog, &out)
}

// endpointOf is where a side sends what is for a scripted peer.
func (s *side) endpointOf(p *scripted) netip.AddrPort {
	to, _ := s.engine.Peer(p.id.Public()).Endpoint()
	return to.Addr
}

// listen puts a speaker on a network.
func listen(t *testing.T, n *memNet, s *speaker, at, to netip.AddrPort) *scripted {
	t.Helper()
	conn, err := n.host(at.Addr())(t.Context(), network(at.Addr()), at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &scripted{speaker: s, net: n, conn: conn.(*memConn), at: at, to: to}
}

func network(a netip.Addr) string {
	if a.Is6() {
		return "udp6"
	}
	return "udp4"
}

// say sends messages, one after the other, and waits until all is done for
// them.
func (s *scripted) say(msgs ...[]byte) { s.sayFrom(s.at, msgs...) }

// sayFrom is say from another address.
func (s *scripted) sayFrom(from netip.AddrPort, msgs ...[]byte) {
	for i, m := range msgs {
		s.net.inject(from, s.to, bytes.Clone(m))
		if i%100 == 99 {
			synctest.Wait() // the Device's socket buffer holds 1024
		}
	}
	synctest.Wait()
}

// hear is the next message from the Device, or nil.
func (s *scripted) hear() []byte {
	synctest.Wait()
	select {
	case d := <-s.conn.in:
		return d.b
	default:
		return nil
	}
}

// want is the next message from the Device, which must be of this kind.
func (s *scripted) want(kind message.Type, why string) []byte {
	s.Helper()
	b := s.hear()
	if got, ok := message.Classify(b); !ok || got != kind {
		s.Fatalf("%s: heard %s, want %s", why, nameOf(b), typeNames[kind])
	}
	return b
}

// silence checks that nothing came from the Device.
func (s *scripted) silence(why string) {
	s.Helper()
	if b := s.hear(); b != nil {
		s.Errorf("%s: heard %s, want nothing", why, nameOf(b))
	}
}

// connect makes a session that the scripted peer began and confirmed.
func (s *scripted) connect() {
	s.Helper()
	s.say(s.initiation())
	s.finish(s.want(message.TypeResponse, "the initiation is answered"))
	s.say(s.data(nil))
}

// accept makes a session that the Device begins.
func (s *scripted) accept() {
	s.Helper()
	s.say(s.answer(s.want(message.TypeInitiation, "the Device begins")))
}

var typeNames = map[message.Type]string{
	message.TypeInitiation: "an initiation", message.TypeResponse: "a response",
	message.TypeCookieReply: "a cookie reply", message.TypeData: "data",
}

func nameOf(msg []byte) string {
	if msg == nil {
		return "nothing"
	}
	if kind, ok := message.Classify(msg); ok {
		return typeNames[kind]
	}
	return "junk"
}
