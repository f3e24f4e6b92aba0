package interop

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/wimble-proxy/wimble/wireguard"
	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// foreignSubject is wireguard-go, between a bind and a TUN that are the test's.
// It works on many goroutines, so that the test has to know when it is done.
type foreignSubject struct {
	foreign
	remote *handshake.Remote // itself, as others see it
	in     chan datagram
	out    chan []byte
	closed chan struct{}
	fences uint16
	public key.Public // the peer

	mu   sync.Mutex
	cond sync.Cond
	effects
	refused map[string]bool // where initiations came from that it refused
}

func newForeignSubject(t testing.TB, private key.Private) *foreignSubject {
	t.Helper()
	anybody := handshake.NewIdentity(private) // whose own key does not matter
	s := &foreignSubject{
		remote: handshake.NewRemote(anybody, private.Public()),
		in:     make(chan datagram), out: make(chan []byte), closed: make(chan struct{}),
		refused: map[string]bool{},
	}
	s.cond.L = &s.mu
	s.device = device.NewDevice(wire{s}, wire{s}, &device.Logger{Verbosef: s.log, Errorf: device.DiscardLogf})
	t.Cleanup(func() {
		close(s.closed)
		s.device.Close()
	})
	secret := private.Bytes()
	if err := s.device.IpcSet("private_key=" + hex.EncodeToString(secret[:]) + "\n"); err != nil {
		t.Fatal(err)
	}
	if err := s.device.Up(); err != nil {
		t.Fatal(err)
	}
	return s
}

// log is what wireguard-go says of its doings, on the goroutine that does them.
// Of its handshake workers all but the first are held up here: one alone takes
// messages in their order, and a later one shows that all before were handled.
func (s *foreignSubject) log(format string, a ...any) {
	switch {
	case strings.HasPrefix(format, "Routine: handshake worker") && strings.HasSuffix(format, "started") && a[0] != 1:
		<-s.closed
	case strings.HasPrefix(format, "Received invalid initiation message from"):
		s.mu.Lock()
		defer s.mu.Unlock()
		s.refused[fmt.Sprint(a[0])] = true
		s.cond.Broadcast()
	}
}

func (s *foreignSubject) meet(t *testing.T, peers ...engine.PeerChange) {
	t.Helper()
	c := wireguard.Change{ReplacePeers: true}
	for _, p := range peers {
		c.Peers = append(c.Peers, wireguard.PeerChange{PeerChange: p})
	}
	if err := s.device.IpcSet(uapiChange(c)); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.public, s.effects = peers[0].PublicKey, effects{}
}

// receive returns when the message is in a queue, or was dropped before.
func (s *foreignSubject) receive(from netip.AddrPort, msg []byte) {
	s.in <- datagram{msg, from}
	s.in <- datagram{nil, from}
}

func (s *foreignSubject) send(packet []byte) { s.out <- packet }

// settle waits until wireguard-go handled every handshake message, and did as
// much as the other subject. What it does beyond that shows later.
func (s *foreignSubject) settle(t *testing.T, other effects) effects {
	t.Helper()
	s.fence(t)
	for end := time.Now().Add(5 * time.Second); ; {
		p := onePeer(s.snapshot(t), s.public)
		s.mu.Lock()
		s.peer = p
		now := s.effects
		s.mu.Unlock()
		if len(now.sent) >= len(other.sent) && len(now.delivered) >= len(other.delivered) &&
			now.peer.Received >= other.peer.Received && now.peer.Sent >= other.peer.Sent &&
			(now.peer.Endpoint == other.peer.Endpoint || !other.peer.Endpoint.IsValid()) || time.Now().After(end) {
			return now
		}
		time.Sleep(50 * time.Microsecond)
	}
}

// fence waits until the handshake worker has refused an initiation whose source
// is new and whose mac1 alone is right.
func (s *foreignSubject) fence(t *testing.T) {
	t.Helper()
	s.fences++
	from := netip.AddrPortFrom(netip.MustParseAddr("198.51.100.1"), s.fences)
	msg := make([]byte, message.InitiationSize)
	(&message.Initiation{}).Put(msg)
	new(handshake.Signer).Sign(0, s.remote, msg)
	s.receive(from, msg)
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.refused[from.String()] {
		s.cond.Wait()
	}
	clear(s.refused)
}

// wire is the bind and the TUN of a foreignSubject.
type wire struct{ *foreignSubject }

func (w wire) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	receive := func(packets [][]byte, sizes []int, from []conn.Endpoint) (int, error) {
		select {
		case d := <-w.in:
			sizes[0], from[0] = copy(packets[0], d.b), remote{d.at}
			return 1, nil
		case <-w.closed:
			return 0, net.ErrClosed
		}
	}
	return []conn.ReceiveFunc{receive}, port, nil
}

// Send takes datagrams to the peer.
func (w wire) Send(packets [][]byte, _ conn.Endpoint) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range packets {
		w.sent = append(w.sent, bytes.Clone(p))
	}
	return nil
}

func (wire) ParseEndpoint(s string) (conn.Endpoint, error) {
	a, err := netip.ParseAddrPort(s)
	return remote{a}, err
}

func (w wire) Read(packets [][]byte, sizes []int, offset int) (int, error) {
	select {
	case p := <-w.out:
		sizes[0] = copy(packets[0][offset:], p)
		return 1, nil
	case <-w.closed:
		return 0, os.ErrClosed
	}
}

// Write takes packets from the peer.
func (w wire) Write(packets [][]byte, offset int) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range packets {
		w.delivered = append(w.delivered, bytes.Clone(p[offset:]))
	}
	return len(packets), nil
}

func (w wire) Events() <-chan tun.Event { return make(chan tun.Event) }
func (wire) Close() error               { return nil }
func (wire) SetMark(uint32) error       { return nil }
func (wire) BatchSize() int             { return 1 }
func (wire) MTU() (int, error)          { return 1420, nil }
func (wire) Name() (string, error)      { return "wire", nil }
func (wire) File() *os.File             { return nil }
