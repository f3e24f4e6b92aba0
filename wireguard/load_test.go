package wireguard

import (
	"crypto/rand"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// forged makes an initiation with a valid mac1 by a stranger.
func forged(t testing.TB, to key.Public) []byte {
	t.Helper()
	private, err := key.NewPrivate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ephemeral, err := key.NewPrivate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := handshake.NewIdentity(private)
	remote := handshake.NewRemote(id, to)
	_, m, err := handshake.Initiate(id, remote, 1, handshake.TimestampAt(time.Now()), ephemeral)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, message.InitiationSize)
	m.Put(b)
	new(handshake.Signer).Sign(0, remote, b)
	return b
}

// TestFloodIsShed: a flood with a valid mac1 from many addresses costs no
// Diffie-Hellman computation once the backlog is an eighth full: each gets a
// cookie, smaller than what asked for it, and the real peer comes through with
// its cookie on the next retransmission.
func TestFloodIsShed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		sides := pairOf(t, n, &testClock{start: time.Now()}, nil)
		a, b := sides[0], sides[1]
		run(t, sides[:]...)
		synctest.Wait()
		var replies int
		n.setTap(func(_, to netip.AddrPort, msg []byte) [][]byte {
			n.mu.Lock()
			defer n.mu.Unlock()
			if kind, _ := message.Classify(msg); kind == message.TypeCookieReply && to != a.outer {
				replies++
			}
			return [][]byte{msg}
		})
		// The load itself is set by hand: a worker that keeps up in virtual
		// time never shows it.
		overload := func() {
			var out engine.Output
			backlog := engine.Backlog{Waiting: maxHandshakes / 8, Limit: maxHandshakes}
			b.engine.Admit(b.clock(), engine.Endpoint{}, forged(t, b.private.Public()), backlog, &out)
		}
		overload()
		flood := forged(t, b.private.Public())
		for i := range 1000 {
			n.inject(netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 4000), b.outer, flood)
			if i%100 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		drops := b.Drops()
		if drops["cookie"] != 1001 || drops["unknown-peer"] != 0 || replies != 1000 {
			t.Errorf("drops %v and %d replies, want 1000 strangers answered with cookies and none computed for", drops, replies)
		}
		a.send(t, b, 1, 84) // its initiation is answered with a cookie
		synctest.Wait()
		if b.received() != 0 {
			t.Fatal("the initiation was let in without a cookie")
		}
		for b.received() == 0 && b.clock().Boot < time.Minute {
			time.Sleep(500 * time.Millisecond)
			overload()
		}
		if at := b.clock().Boot; b.received() != 1 || at > engine.RekeyTimeout+time.Second {
			t.Errorf("the peer came through after %v, want with its first retransmission", at)
		}
	})
}
