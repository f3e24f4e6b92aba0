package interop

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// speaker makes the messages of one peer, and reads those of its subject. It
// has no timers and no rules, and says what the test wants.
type speaker struct {
	t       testing.TB
	id      *handshake.Identity
	subject *handshake.Remote
	psk     key.Preshared
	index   uint32
	signer  handshake.Signer
	cookies handshake.Cookies

	began    map[uint32]*handshake.Initiator // by the index that they were sent with
	sessions []*session                      // the newest last
	heard    int                             // of what the subject sent
	asked    []byte                          // its newest initiation
	signed   []byte                          // its newest message with MACs
	said     [][]byte                        // all that it was told
}

// session is one of a speaker.
type session struct {
	keys    handshake.Keys
	remote  uint32 // the subject's index
	counter uint64 // the next to send with
}

func newSpeaker(t testing.TB, private key.Private, subject key.Public, psk key.Preshared) *speaker {
	id := handshake.NewIdentity(private)
	return &speaker{
		t: t, id: id, subject: handshake.NewRemote(id, subject), psk: psk, index: 1000,
		began: map[uint32]*handshake.Initiator{},
	}
}

func (s *speaker) ephemeral() key.Private {
	k, err := key.NewPrivate(rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	return k
}

// initiation begins a handshake.
func (s *speaker) initiation(stamp handshake.Timestamp) []byte {
	s.index++
	state, m, err := handshake.Initiate(s.id, s.subject, s.index, stamp, s.ephemeral())
	if err != nil {
		s.t.Fatal(err)
	}
	s.began[s.index] = state
	b := make([]byte, message.InitiationSize)
	m.Put(b)
	s.sign(b)
	return b
}

// response answers the subject's newest initiation, if there is one.
func (s *speaker) response() []byte {
	m, ok := message.ParseInitiation(s.asked)
	if !ok {
		return nil
	}
	r, err := handshake.Receive(s.id, &m)
	if err != nil {
		s.t.Fatalf("the subject's initiation: %v", err)
	}
	if _, err := r.Authenticate(s.subject); err != nil {
		s.t.Fatalf("the subject's initiation: %v", err)
	}
	s.index++
	answer, keys, err := r.Respond(s.subject, &s.psk, s.index, s.ephemeral())
	if err != nil {
		s.t.Fatal(err)
	}
	s.sessions = append(s.sessions, &session{keys: keys, remote: m.Sender})
	b := make([]byte, message.ResponseSize)
	answer.Put(b)
	s.sign(b)
	return b
}

// sign makes the MACs of an initiation or response, or makes them again.
func (s *speaker) sign(msg []byte) { s.signer.Sign(0, s.subject, msg) }

// cookieReply is for the subject's newest message with MACs, if there is one.
func (s *speaker) cookieReply(from netip.AddrPort) []byte {
	if s.signed == nil {
		return nil
	}
	m, err := s.cookies.Reply(0, s.id, from, s.signed, rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	b := make([]byte, message.CookieReplySize)
	m.Put(b)
	return b
}

// data seals plain as it is in one of the sessions, 0 being the newest.
func (s *speaker) data(age int, counter uint64, plain []byte) []byte {
	x := s.session(age)
	if x == nil {
		return nil
	}
	aead, err := chacha20poly1305.New(x.keys.Send[:])
	if err != nil {
		s.t.Fatal(err)
	}
	b := make([]byte, message.DataHeaderSize, message.DataMinSize+len(plain))
	message.PutDataHeader(b, 0, counter)
	nonce := bytes.Clone(b[4:])
	message.PutDataHeader(b, x.remote, counter)
	return aead.Seal(b, nonce, plain, nil)
}

func (s *speaker) session(age int) *session {
	if age >= len(s.sessions) {
		return nil
	}
	return s.sessions[len(s.sessions)-1-age]
}

// tell is what a subject is told. A begun handshake is known by the index that
// really is in its initiation.
func (s *speaker) tell(msg []byte) []byte {
	s.said = append(s.said, msg)
	if kind, ok := message.Classify(msg); ok && kind == message.TypeInitiation {
		if state := s.began[s.index]; state != nil {
			s.began[binary.LittleEndian.Uint32(msg[4:])] = state
		}
	}
	return msg
}

// hear reads what the subject sent since last time, and says in words what it
// was, so that two subjects can be compared.
func (s *speaker) hear(sent [][]byte) (words []string) {
	for _, msg := range sent[s.heard:] {
		words = append(words, s.read(msg))
	}
	s.heard = len(sent)
	return words
}

func (s *speaker) read(msg []byte) string {
	kind, ok := message.Classify(msg)
	switch {
	case ok && kind == message.TypeInitiation && s.id.CheckMAC1(msg):
		s.asked, s.signed = msg, msg
		return "initiation" + s.cookie(msg)
	case ok && kind == message.TypeResponse && s.id.CheckMAC1(msg):
		s.signed = msg
		m, _ := message.ParseResponse(msg)
		state := s.began[m.Receiver]
		if state == nil {
			return fmt.Sprintf("response to unknown index %d", m.Receiver)
		}
		keys, err := state.Finish(s.id, &s.psk, &m)
		if err != nil {
			return fmt.Sprintf("response: %v", err)
		}
		s.sessions = append(s.sessions, &session{keys: keys, remote: m.Sender})
		return "response" + s.cookie(msg)
	case ok && kind == message.TypeData:
		return s.open(msg)
	}
	return fmt.Sprintf("%d bytes of anything else", len(msg))
}

// cookie tells whether a message has a mac2.
func (s *speaker) cookie(msg []byte) string {
	if mac2 := msg[len(msg)-message.MACSize:]; bytes.Equal(mac2, make([]byte, message.MACSize)) {
		return ""
	}
	return " with mac2"
}

// open reads data of any session.
func (s *speaker) open(msg []byte) string {
	nonce := bytes.Clone(msg[4:message.DataHeaderSize])
	clear(nonce[:4])
	for age := range s.sessions {
		aead, err := chacha20poly1305.New(s.session(age).keys.Receive[:])
		if err != nil {
			s.t.Fatal(err)
		}
		if plain, err := aead.Open(nil, nonce, msg[message.DataHeaderSize:], nil); err == nil {
			return fmt.Sprintf("data %d of session %d: %x", message.DataCounter(msg), age, plain)
		}
	}
	return "data of no session"
}
