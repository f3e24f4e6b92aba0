package interop

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// TestTimers has a peer look at when an engine sends what, in real time. Both
// keep to the protocol's times (Whitepaper, 6), and so to each other's.
func TestTimers(t *testing.T) {
	t.Parallel()
	const jitter = 334 * time.Millisecond
	scenes := []scene{
		{
			name: "nobody answers", lasts: 19 * time.Second,
			acts: []act{{0, (*stage).nodeSends}},
			want: []cue{
				{"initiation", 0, 0},
				{"initiation", 5 * time.Second, jitter},
				{"initiation", 10 * time.Second, 2 * jitter},
				{"initiation", 15 * time.Second, 3 * jitter},
			},
		},
		{
			name: "the peer answers and falls silent", lasts: 19 * time.Second, answers: 1,
			acts: []act{{0, (*stage).nodeSends}, {4 * time.Second, (*stage).nodeSends}},
			want: []cue{
				{"initiation", 0, 0},
				{"data", 0, 0},
				{"data", 4 * time.Second, 0},
				{"initiation", 15 * time.Second, jitter}, // after the first
			},
		},
		{
			name: "the peer speaks twice and the node is silent", lasts: 24 * time.Second,
			acts: []act{
				{0, (*stage).peerBegins},
				{time.Second, (*stage).peerSends},
				{6 * time.Second, (*stage).peerSends},
			},
			want: []cue{
				{"response", 0, 0},
				{"keepalive", 11 * time.Second, 0}, // for the first, and none at 21 s for the second
			},
		},
	}
	// At once, because it is nearly all waiting.
	var playing sync.WaitGroup
	defer playing.Wait()
	for _, of := range []implementation{wimble, wireguardGo} {
		for _, s := range scenes {
			g := newStage(t, of)
			playing.Go(func() { g.play(s) })
		}
	}
}

// scene is what happens between a node and its peer, and what the peer is to
// hear.
type scene struct {
	name    string
	lasts   time.Duration
	answers int // how many initiations of the node the peer answers
	acts    []act
	want    []cue
}

type act struct {
	at time.Duration
	do func(*stage)
}

// cue is a kind of message and when it is to come: at a time, or as much later.
type cue struct {
	kind  string
	at    time.Duration
	later time.Duration
}

// delay is what a busy machine may add to a time. Nothing comes too early.
const delay = 3 * time.Second

// stage is a node and its peer, which sits on a socket.
type stage struct {
	t    *testing.T
	of   string
	node net.Conn // sends to the peer
	conn *net.UDPConn
	to   netip.AddrPort
	peer *speaker
}

func newStage(t *testing.T, of implementation) *stage {
	t.Helper()
	private, peer := newKey(t), newKey(t)
	g := &stage{t: t, of: of.name, conn: listenUDP(t, loopback4), peer: newSpeaker(t, peer, private.Public(), key.Preshared{})}
	t.Cleanup(func() { g.conn.Close() })
	n := of.open(t, config.Tunnel{Name: of.name, PrivateKey: private, Addresses: fromInside, Peers: []config.Peer{
		{PublicKey: peer.Public(), Endpoint: addrOf(g.conn).String(), AllowedIPs: toInside},
	}}, nil)
	g.to = netip.AddrPortFrom(loopback4, n.port(t))
	service, err := n.ListenPacket(t.Context(), "udp", at(fromInside[0], 7))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	if g.node, err = n.DialContext(t.Context(), "udp", at(toInside[0], 7)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.node.Close() })
	return g
}

func (g *stage) nodeSends() { g.check(g.node.Write([]byte("hello"))) }

func (g *stage) peerBegins() {
	g.write(g.peer.tell(g.peer.initiation(handshake.TimestampAt(time.Now()))))
}

func (g *stage) peerSends() {
	s := g.peer.session(0)
	if s == nil {
		g.t.Errorf("%s: no session", g.of)
		return
	}
	s.counter++
	g.write(g.peer.data(0, s.counter-1, udpPacket(toInside[0].Addr(), fromInside[0].Addr(), 7, []byte("hello"))))
}

func (g *stage) write(msg []byte) { g.check(g.conn.WriteToUDPAddrPort(msg, g.to)) }

func (g *stage) check(_ int, err error) {
	if err != nil {
		g.t.Errorf("%s: %v", g.of, err)
	}
}

// play plays a scene and compares what the peer heard.
func (g *stage) play(s scene) {
	start := time.Now()
	var heard []cue
	for buf := make([]byte, 1500); ; {
		now := time.Since(start)
		for len(s.acts) > 0 && s.acts[0].at <= now {
			s.acts[0].do(g)
			s.acts = s.acts[1:]
		}
		next := s.lasts
		if len(s.acts) > 0 {
			next = s.acts[0].at
		}
		if now >= s.lasts {
			break
		}
		_ = g.conn.SetReadDeadline(start.Add(next))
		n, err := g.conn.Read(buf)
		if err != nil {
			continue // it is time for something
		}
		kind := kindOf(g.peer.read(bytes.Clone(buf[:n])))
		heard = append(heard, cue{kind: kind, at: time.Since(start)})
		if kind == "initiation" && s.answers > 0 {
			s.answers--
			// wireguard-go arms its retransmission after it sent: an answer may
			// come too soon for it.
			time.Sleep(20 * time.Millisecond)
			g.write(g.peer.response())
		}
	}
	g.judge(s, heard)
}

func (g *stage) judge(s scene, heard []cue) {
	right := len(heard) == len(s.want)
	for i := range min(len(heard), len(s.want)) {
		h, w := heard[i], s.want[i]
		right = right && h.kind == w.kind && h.at >= w.at && h.at <= w.at+w.later+delay
	}
	var lines strings.Builder
	for _, h := range heard {
		fmt.Fprintf(&lines, " %s at %.2f s", h.kind, h.at.Seconds())
	}
	if !right {
		g.t.Errorf("%s, %s: the peer heard%s, want %v", g.of, s.name, &lines, s.want)
		return
	}
	g.t.Logf("%s, %s:%s", g.of, s.name, &lines)
}

// kindOf is the kind of message in a speaker's words.
func kindOf(words string) string {
	kind, rest, _ := strings.Cut(words, " ")
	if kind == "data" && strings.HasSuffix(rest, ": ") {
		return "keepalive"
	}
	return kind
}
