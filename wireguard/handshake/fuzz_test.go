package handshake

import (
	"testing"

	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// The operations of FuzzHandshake, by the lowest bits of an input byte.
const (
	opInitiate     = iota // Alice begins a handshake and sends it, in place of her last.
	opInitiation          // The initiation on its way is changed.
	opReceive             // Bob takes in what arrives of it, in place of his last.
	opAuthenticate        // Bob goes on.
	opRespond             // Bob answers.
	opResponse            // The response on its way is changed.
	opFinish              // Alice takes in what arrives of it.
	opPreshared           // Bob is told the other of two preshared keys.
	operations
)

// FuzzHandshake has the input choose what two hosts do and what a third does to
// their messages, one operation a byte, and two more bytes to say what is
// changed. Each step must succeed exactly when all that it rests on is intact.
func FuzzHandshake(f *testing.F) {
	f.Fuzz(func(t *testing.T, input []byte) {
		g := newGame(t)
		for n := 0; len(input) > 0 && n < 40; n++ { // 40 are 100 X25519 at most.
			op := input[0] % operations
			input = input[1:]
			if (op == opInitiation || op == opResponse) && len(input) < 2 {
				return
			}
			switch op {
			case opInitiate:
				g.initiate()
			case opInitiation:
				flip(g.initiation.wire, input[0], input[1])
				input = input[2:]
			case opReceive:
				g.receive()
			case opAuthenticate:
				g.authenticate()
			case opRespond:
				g.respond()
			case opResponse:
				flip(g.response.wire, input[0], input[1])
				input = input[2:]
			case opFinish:
				g.finish()
			case opPreshared:
				g.psk = 1 - g.psk
			}
		}
	})
}

// flip changes the byte of b at place at, if there is one.
func flip(b []byte, at, mask byte) {
	if len(b) > 0 {
		b[int(at)%len(b)] ^= mask
	}
}

// game is the two hosts and what is expected of them.
type game struct {
	*pair
	psks [2]key.Preshared // Alice has the first.
	psk  int              // The one that bob has.

	round      int // Numbers alice's initiations.
	finished   int // The last round that gave alice keys.
	initiator  *Initiator
	initiation delivery

	responder     *Responder
	authentic     bool // The timestamp that bob received is intact.
	authenticated bool
	received      int // The round that bob's handshake is of.

	response delivery
	answered int // The round that the response is for, 0 if for none.
	keys     Keys
}

// delivery is a message on its way.
type delivery struct {
	sent, wire []byte
}

func newDelivery(b []byte) delivery {
	return delivery{sent: append([]byte(nil), b...), wire: b}
}

// intact reports whether the bytes from one place to another arrive as sent.
func (d delivery) intact(from, to int) bool {
	return len(d.wire) > 0 && string(d.sent[from:to]) == string(d.wire[from:to])
}

func newGame(t *testing.T) *game {
	g := &game{pair: newPair(t, 30)}
	g.psks = [2]key.Preshared{g.preshared(), g.preshared()}
	return g
}

// expect ends the test when a step's outcome is not the wanted one.
func (g *game) expect(step string, want bool, err error) {
	g.t.Helper()
	if (err == nil) != want {
		g.t.Fatalf("%s in round %d: %v, want success %t", step, g.round, err, want)
	}
}

func (g *game) initiate() {
	i, m := g.pair.initiate()
	g.round++
	g.initiator = i
	g.initiation = newDelivery(g.signedInitiation(&m))
}

func (g *game) receive() {
	b := g.initiation.wire
	m, ok := message.ParseInitiation(b)
	if ok != g.initiation.intact(0, 4) {
		g.t.Fatalf("initiation %x parsed: %t", b, ok)
	}
	if g.bob.id.CheckMAC1(b) != g.initiation.intact(0, 132) {
		g.t.Fatalf("initiation %x: wrong verdict on mac1", b)
	}
	if !ok {
		return
	}
	r, err := Receive(g.bob.id, &m)
	g.expect("Receive", g.initiation.intact(8, 88), err)
	if err == nil {
		g.responder, g.authenticated = r, false
		g.authentic, g.received = g.initiation.intact(88, 116), g.round
	}
}

func (g *game) authenticate() {
	if g.responder == nil {
		return
	}
	ts, err := g.responder.Authenticate(g.bob.remote)
	g.expect("Authenticate", g.authentic && !g.authenticated, err)
	if err == nil {
		g.authenticated = true
		if ts != (Timestamp{1}) {
			g.t.Fatalf("timestamp %x", ts)
		}
	}
}

func (g *game) respond() {
	if g.responder == nil {
		return
	}
	m, keys, err := g.responder.Respond(g.bob.remote, &g.psks[g.psk], bobIndex, g.private())
	g.expect("Respond", g.authenticated, err)
	if err != nil {
		return
	}
	g.authenticated, g.authentic = false, false // The responder is spent.
	g.response = newDelivery(g.signedResponse(&m))
	g.keys = keys
	g.answered = g.received
	if g.psk != 0 {
		g.answered = 0
	}
}

func (g *game) finish() {
	b := g.response.wire
	m, ok := message.ParseResponse(b)
	if ok != g.response.intact(0, 4) {
		g.t.Fatalf("response %x parsed: %t", b, ok)
	}
	if g.alice.id.CheckMAC1(b) != g.response.intact(0, 76) {
		g.t.Fatalf("response %x: wrong verdict on mac1", b)
	}
	if !ok || g.initiator == nil {
		return
	}
	keys, err := g.initiator.Finish(g.alice.id, &g.psks[0], &m)
	g.expect("Finish", g.answered == g.round && g.finished < g.round && g.response.intact(12, 60), err)
	if err == nil {
		g.finished = g.round
		if !mirrored(keys, g.keys) {
			g.t.Fatal("the keys of the two sides differ")
		}
	}
}
