package interop

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// FuzzSocket sends datagrams of 0 to 65,507 bytes, and trains of them that the
// system may hand over in one piece, to our engine and to wireguard-go on real
// sockets. Both drop all of that: a packet of their peer still arrives after
// it, and nothing else did.
func FuzzSocket(f *testing.F) {
	f.Add([]byte{}, uint16(0), uint16(0), byte(asItIs))
	f.Add([]byte{4, 0, 0, 0}, uint16(65507), uint16(65507), byte(inSession))
	f.Add([]byte{1, 0, 0, 0}, uint16(30*148), uint16(148), byte(withMAC1))
	f.Add([]byte{2, 0, 0, 0}, uint16(20*92), uint16(92), byte(withMAC1))
	f.Add([]byte{3}, uint16(60*64+1), uint16(64), byte(asItIs))
	f.Add([]byte{4, 0, 0, 0}, uint16(44*1452+33), uint16(1452), byte(inSession))
	f.Add([]byte{4, 0, 0, 0}, uint16(64), uint16(1), byte(asItIs))
	var targets []*target
	for _, of := range []implementation{wimble, wireguardGo} {
		targets = append(targets, newTarget(f, of))
	}
	f.Fuzz(func(t *testing.T, pattern []byte, length, stride uint16, dress byte) {
		for i, x := range targets {
			x.peer.t = t
			x.begin(t)
			before := peerOf(t, x.node, x.public).Received
			if i == 0 || length > 0 {
				// wireguard-go loses what it reads together with an empty
				// datagram, whoever that is of.
				x.bombard(t, pattern, int(length), max(int(stride), 1), dress%dressModes)
			}
			x.survive(t, before)
		}
	})
}

// How a datagram is dressed, so that it gets further than chance would.
const (
	asItIs    = iota
	inSession // as data of the live session, which does not open
	withMAC1  // as from somebody who knows the public key, and no more
	dressModes
)

// target is an engine on sockets of the system, with a peer in session with it.
type target struct {
	node
	peer    *speaker
	public  key.Public // the peer's
	conn    *net.UDPConn
	service net.PacketConn
	began   time.Time
	fences  int
}

func newTarget(f *testing.F, of implementation) *target {
	f.Helper()
	engine, peer := newKey(f), newKey(f)
	c := config.Tunnel{Name: of.name, PrivateKey: engine, Addresses: fromInside, Peers: []config.Peer{
		{PublicKey: peer.Public(), AllowedIPs: toInside},
	}}
	x := &target{node: of.open(f, c, nil), peer: newSpeaker(f, peer, engine.Public(), key.Preshared{}), public: peer.Public()}
	var err error
	if x.service, err = x.ListenPacket(f.Context(), "udp", at(fromInside[0], 7)); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { x.service.Close() })
	x.conn = x.dial(f)
	return x
}

// dial connects a socket to the target.
func (x *target) dial(t testing.TB) *net.UDPConn {
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback4, x.port(t))))
	if err != nil {
		t.Fatal(err)
	}
	widen(c)
	t.Cleanup(func() { c.Close() })
	return c
}

// begin sees to it that there is a session, and that it is not too old.
func (x *target) begin(t *testing.T) {
	t.Helper()
	if time.Since(x.began) < time.Minute {
		return
	}
	x.began = time.Now()
	say(t, x.conn, string(x.peer.tell(x.peer.initiation(handshake.TimestampAt(x.began)))))
	_ = x.conn.SetReadDeadline(time.Now().Add(patience / 4))
	for words := ""; words != "response"; {
		buf := make([]byte, 1500)
		n, err := x.conn.Read(buf)
		if err != nil {
			t.Fatalf("the initiation was not answered: %v", err)
		}
		words = x.peer.read(buf[:n]) // a keepalive may come first
	}
	x.survive(t, peerOf(t, x.node, x.public).Received)
}

// bombard sends one train of datagrams of stride bytes each, of which the last
// may be shorter.
func (x *target) bombard(t *testing.T, pattern []byte, length, stride int, dress byte) {
	const longest, mostSegments = 65507, 64
	train := make([]byte, min(length, longest, stride*mostSegments))
	for n := 0; len(pattern) > 0 && n < len(train); {
		n += copy(train[n:], pattern)
	}
	for n := 0; n < len(train); n += stride {
		x.dress(train[n:min(n+stride, len(train))], dress)
	}
	c := x.dial(t)
	if stride < len(train) {
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, stride)
		}), err)
		if err != nil {
			t.Fatal(err)
		}
	}
	say(t, c, string(train))
}

func (x *target) dress(msg []byte, as byte) {
	switch {
	case as == inSession && len(msg) >= message.DataMinSize:
		message.PutDataHeader(msg, x.peer.session(0).remote, binary.LittleEndian.Uint64(msg[8:]))
	case as == withMAC1 && (len(msg) == message.InitiationSize || len(msg) == message.ResponseSize):
		x.peer.sign(msg)
	}
}

// survive sends a packet to the target and has it delivered, the only one since
// before.
func (x *target) survive(t *testing.T, before uint64) {
	t.Helper()
	x.fences++
	text := fmt.Sprintf("packet %d", x.fences)
	packet := udpPacket(toInside[0].Addr(), fromInside[0].Addr(), 7, []byte(text))
	s := x.peer.session(0)
	s.counter++
	msg := x.peer.data(0, s.counter-1, packet)
	say(t, x.conn, string(msg))
	hear(t, x.service, text)
	p := peerOf(t, x.node, x.public)
	if got := p.Received - before; got != uint64(len(msg)) {
		t.Errorf("%d bytes were received from the peer, want %d", got, len(msg))
	}
	if p.Endpoint != addrOf(x.conn) {
		t.Errorf("the peer's endpoint is %v, want %v", p.Endpoint, addrOf(x.conn))
	}
}
