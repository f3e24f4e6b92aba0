package interop

import (
	"bytes"
	"crypto/rand"
	"net/netip"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// subject is an engine without a network: a test gives it datagrams and packets
// and looks at what it makes of them.
type subject interface {
	// meet replaces the peers; the first is the one that will speak.
	meet(t *testing.T, peers ...engine.PeerChange)
	// receive is a datagram that comes in.
	receive(from netip.AddrPort, msg []byte)
	// send is a packet that goes out.
	send(packet []byte)
	// settle waits until what was given has had its effects, of which there
	// are as many as the other subject shows, and returns all since meet.
	settle(t *testing.T, other effects) effects
}

// effects are what a subject did since it met its peer.
type effects struct {
	sent      [][]byte // datagrams
	delivered [][]byte // packets
	peer      engine.PeerSnapshot
}

// engineSubject is our engine.
type engineSubject struct {
	engine *engine.Engine
	now    engine.Time
	public key.Public // the peer
	effects
	// policed are the bytes of what came from the peer and was not let through,
	// which wireguard-go counts as received and the kernel does not.
	policed uint64
}

func newEngineSubject(private key.Private) *engineSubject {
	s := &engineSubject{
		engine: engine.New(engine.Config{Rand: rand.Reader, MTU: 1420}),
		now:    engine.Time{Wall: time.Now()},
	}
	var out engine.Output
	s.engine.Apply(s.now, engine.Change{PrivateKey: &private}, &out)
	s.engine.Up(s.now, &out)
	return s
}

func (s *engineSubject) meet(_ *testing.T, peers ...engine.PeerChange) {
	var out engine.Output
	s.public, s.effects, s.policed = peers[0].PublicKey, effects{}, 0
	s.engine.Apply(s.now, engine.Change{ReplacePeers: true, Peers: peers}, &out)
	s.act(&out)
}

// receive does with a datagram what a Device does.
func (s *engineSubject) receive(from netip.AddrPort, msg []byte) {
	msg = bytes.Clone(msg) // it is decrypted in place
	var out engine.Output
	defer func() { s.act(&out) }()
	source := engine.Endpoint{Addr: from}
	if kind, ok := message.Classify(msg); !ok || kind != message.TypeData {
		if s.engine.Admit(s.now, source, msg, engine.Backlog{Limit: 1024}, &out) {
			s.engine.Handshake(s.now, source, msg, &out)
		}
		return
	}
	session := s.engine.Find(message.DataReceiver(msg))
	if session == nil {
		return
	}
	opened, why := session.Open(s.now.Boot, msg)
	if why != engine.DropNone {
		return
	}
	run := []engine.Opened{opened}
	session.Commit(s.now, source, run, &out)
	if plain := run[0].Packet; len(plain) > 0 {
		if packet := s.engine.Police(session.Peer(), plain); packet != nil {
			s.delivered = append(s.delivered, packet)
		} else {
			s.policed += uint64(message.DataMinSize + len(plain))
		}
	}
}

func (s *engineSubject) send(packet []byte) {
	var out engine.Output
	s.engine.Peer(s.public).Stage(s.now, &out, packet)
	s.act(&out)
}

// act does what the engine wants done.
func (s *engineSubject) act(out *engine.Output) {
	for len(out.Initiate) > 0 {
		p := out.Initiate[0]
		out.Initiate = out.Initiate[1:]
		p.Initiate(s.now, out)
	}
	for _, d := range out.Datagrams {
		s.sent = append(s.sent, bytes.Clone(d.Bytes))
	}
}

func (s *engineSubject) settle(*testing.T, effects) effects {
	s.peer = onePeer(s.engine.Snapshot(), s.public)
	s.peer.Received += s.policed
	return s.effects
}

func onePeer(s engine.Snapshot, k key.Public) engine.PeerSnapshot {
	for _, p := range s.Peers {
		if p.PublicKey == k {
			return p
		}
	}
	return engine.PeerSnapshot{}
}
