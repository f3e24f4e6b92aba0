package handshake

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// transcript is testdata/transcript.txt: the known answers by name.
type transcript struct {
	t      *testing.T
	values map[string][]byte
	unused map[string]bool
}

func readTranscript(t *testing.T) *transcript {
	text, err := os.ReadFile("testdata/transcript.txt")
	if err != nil {
		t.Fatal(err)
	}
	tr := &transcript{t: t, values: map[string][]byte{}, unused: map[string]bool{}}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		space := strings.LastIndex(line, " ")
		value, err := hex.DecodeString(line[space+1:])
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		name := strings.TrimSpace(line[:space])
		tr.values[name] = value
		tr.unused[name] = true
	}
	return tr
}

// value is the known answer of that name.
func (tr *transcript) value(name string) []byte {
	tr.t.Helper()
	value, ok := tr.values[name]
	if !ok {
		tr.t.Fatalf("the transcript has no %q", name)
	}
	delete(tr.unused, name)
	return value
}

func (tr *transcript) key(name string) [32]byte {
	tr.t.Helper()
	return [32]byte(tr.value(name))
}

// check compares got with the known answer.
func (tr *transcript) check(name string, got []byte) {
	tr.t.Helper()
	if want := tr.value(name); !bytes.Equal(got, want) {
		tr.t.Errorf("%s:\n got %x\nwant %x", name, got, want)
	}
}

// TestTranscript plays both sides of the known handshake and compares every
// byte of it.
func TestTranscript(t *testing.T) {
	tr := readTranscript(t)
	var (
		initiator = NewIdentity(key.PrivateFrom(tr.key("initiator static private")))
		responder = NewIdentity(key.PrivateFrom(tr.key("responder static private")))
		psk       = key.PresharedFrom(tr.key("preshared key"))
		ts        = Timestamp(tr.value("timestamp"))

		toResponder = NewRemote(initiator, responder.Public())
		toInitiator = NewRemote(responder, initiator.Public())
		signer      Signer
	)
	check32 := func(name string, got [32]byte) {
		t.Helper()
		tr.check(name, got[:])
	}
	check32("initiator static public", initiator.Public().Bytes())
	check32("responder static public", responder.Public().Bytes())
	check32("first C", firstChain)
	check32("first H", firstHash)
	if got := TimestampAt(time.Unix(1_700_000_000, 999_999_999)); got != ts {
		t.Errorf("timestamp %x, want %x", got, ts)
	}

	// The initiation, as made and as read.
	ephemeral := key.PrivateFrom(tr.key("initiator ephemeral private"))
	i, initiation, err := Initiate(initiator, toResponder, 0x01020304, ts, ephemeral)
	if err != nil {
		t.Fatal(err)
	}
	check32("initiator ephemeral public", initiation.Ephemeral)
	check32("C after initiation", i.state.chain)
	check32("H after initiation", i.state.hash)
	first := make([]byte, message.InitiationSize)
	initiation.Put(first)
	signer.Sign(0, toResponder, first)
	tr.check("initiation", first)

	r, err := Receive(responder, &initiation)
	if err != nil {
		t.Fatal(err)
	}
	if r.Static() != initiator.Public() {
		t.Errorf("initiation is from %s, want %s", r.Static(), initiator.Public())
	}
	if got, err := r.Authenticate(toInitiator); err != nil || got != ts {
		t.Fatalf("timestamp %x, %v, want %x", got, err, ts)
	}
	if r.state != i.state {
		t.Error("the two sides differ after the initiation")
	}

	// The response, as made and as read.
	ephemeral = key.PrivateFrom(tr.key("responder ephemeral private"))
	m, responderKeys, err := r.Respond(toInitiator, &psk, 0x0a0b0c0d, ephemeral)
	if err != nil {
		t.Fatal(err)
	}
	check32("responder ephemeral public", m.Ephemeral)
	second := make([]byte, message.ResponseSize)
	m.Put(second)
	new(Signer).Sign(0, toInitiator, second)
	tr.check("response", second)

	last := i.state
	if err := last.readResponse(&m, i.ephemeral, initiator.private, &psk); err != nil {
		t.Fatal(err)
	}
	check32("last C", last.chain)
	keys, err := i.Finish(initiator, &psk, &m)
	if err != nil {
		t.Fatal(err)
	}
	check32("initiator to responder key", keys.Send)
	check32("initiator to responder key", responderKeys.Receive)
	check32("responder to initiator key", keys.Receive)
	check32("responder to initiator key", responderKeys.Send)

	checkCookies(tr, responder, &signer, toResponder, first)
	checkData(tr, keys.Send)
	for name := range tr.unused {
		t.Errorf("%s was not compared", name)
	}
}

// checkCookies has the responder answer first with a cookie reply, and the
// initiator sign first again with it.
func checkCookies(tr *transcript, responder *Identity, signer *Signer, toResponder *Remote, first []byte) {
	tr.t.Helper()
	reply := message.CookieReply{Receiver: 0x01020304, Nonce: [24]byte(counting(0xb0, 24))}
	newXAEAD(&responder.labels.cookie).Seal(reply.Cookie[:0], reply.Nonce[:], counting(0xa0, 16), first[116:132])
	b := make([]byte, message.CookieReplySize)
	reply.Put(b)
	tr.check("cookie reply", b)

	if !signer.Accept(0, toResponder, &reply) {
		tr.t.Fatal("the cookie reply was refused")
	}
	signer.Sign(0, toResponder, first)
	tr.check("initiation with mac2", first)

	cookies := Cookies{secret: [32]byte(counting(0xd0, 32))}
	cookie := cookies.cookie(netip.MustParseAddrPort("192.168.13.37:4660"))
	tr.check("made cookie", cookie[:])
}

// checkData seals what the initiator sends first in the session.
func checkData(tr *transcript, send [32]byte) {
	tr.t.Helper()
	aead, err := chacha20poly1305.New(send[:])
	if err != nil {
		tr.t.Fatal(err)
	}
	seal := func(counter uint64, plaintext []byte) []byte {
		b := make([]byte, message.DataHeaderSize)
		message.PutDataHeader(b, 0x0a0b0c0d, counter)
		nonce := append(make([]byte, 4), b[8:16]...)
		return aead.Seal(b, nonce, plaintext, nil)
	}
	tr.check("keepalive", seal(0, nil))
	packet := tr.value("packet")
	tr.check("data", seal(1, append(packet, make([]byte, 32-len(packet))...)))
}

// counting is n bytes that count up from first.
func counting(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}
