package interop

import (
	"bytes"
	"crypto/rand"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/handshake"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// trial gives our engine and wireguard-go, who have one private key, the same
// peer, and has it say the same to both.
type trial struct {
	private   key.Private
	neighbour key.Public // another peer, who is silent
	ours      *engineSubject
	subjects  [2]subject // ours, and wireguard-go
	speakers  [2]*speaker
	stamp     int       // of the last initiation, in steps
	newest    int       // of all of them
	accepted  time.Time // when one was accepted last
}

// newTrial makes the subjects. The first byte of their public key is at least
// 0xf0, and that of every peer's is less: then ours gives up its initiation
// where two cross, as the kernel and wireguard-go always do.
func newTrial(t testing.TB) *trial {
	return newTrialOf(t, keyWhere(t, func(k [32]byte) bool { return k[0] >= 0xf0 }))
}

func newTrialOf(t testing.TB, private key.Private) *trial {
	ours := newEngineSubject(private)
	return &trial{
		private:   private,
		neighbour: keyWhere(t, func([32]byte) bool { return true }).Public(),
		ours:      ours,
		subjects:  [2]subject{ours, newForeignSubject(t, private)},
	}
}

// keyWhere is a private key whose public one is as wanted.
func keyWhere(t testing.TB, wanted func(public [32]byte) bool) key.Private {
	t.Helper()
	for {
		k, err := key.NewPrivate(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if wanted(k.Public().Bytes()) {
			return k
		}
	}
}

// The peer: where it first is, and what belongs to it inside, less what belongs
// to its neighbour.
var (
	peerAt        = netip.MustParseAddrPort("192.0.2.1:1000")
	peerOwns      = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("fd00::/64")}
	neighbourOwns = []netip.Prefix{netip.MustParsePrefix("10.0.0.128/25"), netip.MustParsePrefix("fd00::8000/113")}
	peerOwns4     = netip.MustParseAddr("10.0.0.2")
	peerOwns6     = netip.MustParseAddr("fd00::2")
)

// meet begins with a new peer.
func (tr *trial) meet(t *testing.T, preshared bool) {
	t.Helper()
	private := keyWhere(t, func(k [32]byte) bool { return k[0] < 0xf0 })
	var psk key.Preshared
	if preshared {
		var err error
		if psk, err = key.NewPreshared(rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	tr.stamp, tr.newest, tr.accepted = 0, 0, time.Time{}
	for i, s := range tr.subjects {
		s.meet(t, engine.PeerChange{PublicKey: private.Public(), PresharedKey: &psk, Endpoint: &peerAt, AllowedIPs: peerOwns},
			engine.PeerChange{PublicKey: tr.neighbour, AllowedIPs: neighbourOwns})
		tr.speakers[i] = newSpeaker(t, private, tr.private.Public(), psk)
	}
}

// tell has both subjects receive what each speaker makes, or nothing.
func (tr *trial) tell(from netip.AddrPort, make func(s *speaker) []byte) {
	for i, s := range tr.speakers {
		if msg := make(s); msg != nil {
			tr.subjects[i].receive(from, s.tell(msg))
		}
	}
}

// compare waits until both did what they do, and fails if that differs.
func (tr *trial) compare(t *testing.T, after string) {
	t.Helper()
	ours := tr.subjects[0].settle(t, effects{})
	theirs := tr.subjects[1].settle(t, ours)
	said, want := tr.speakers[0].hear(ours.sent), tr.speakers[1].hear(theirs.sent)
	if !slices.Equal(said, want) {
		t.Fatalf("after %s: we sent %q, wireguard-go %q", after, said, want)
	}
	if !slices.EqualFunc(ours.delivered, theirs.delivered, bytes.Equal) {
		t.Fatalf("after %s: we delivered %x, wireguard-go %x", after, ours.delivered, theirs.delivered)
	}
	p, q := ours.peer, theirs.peer
	if p.Endpoint != q.Endpoint || p.Sent != q.Sent || p.Received != q.Received {
		t.Fatalf("after %s: endpoint %v, %d bytes sent, %d received; wireguard-go: %v, %d, %d",
			after, p.Endpoint, p.Sent, p.Received, q.Endpoint, q.Sent, q.Received)
	}
	// Also one that the peer can't use: it answers an initiation that was accepted.
	if slices.ContainsFunc(said, func(word string) bool { return strings.HasPrefix(word, "response") }) {
		tr.accepted = time.Now()
	}
}

// notTooSoon waits until another initiation is no flood, which both measure,
// each by its clock.
func (tr *trial) notTooSoon() {
	time.Sleep(time.Until(tr.accepted.Add(floodInterval + time.Millisecond)))
	tr.ours.now.Boot += floodInterval + time.Millisecond
}

// timestamp is a number of steps as a timestamp. A step is larger than what
// timestamps are rounded to.
func timestamp(steps int) handshake.Timestamp {
	return handshake.TimestampAt(time.Unix(1e9, 0).Add(time.Duration(steps) << 25))
}

// FuzzDifferential has a peer say the same to our engine and to wireguard-go:
// messages of every kind, in any order, whole, changed, cut and repeated. Both
// have to accept and refuse alike, answer alike, deliver the same and see the
// peer in the same place. What differs by intent is in differences_test.go.
func FuzzDifferential(f *testing.F) {
	for _, dialogue := range dialogues {
		f.Add(false, script(dialogue...))
		f.Add(true, script(dialogue...))
	}
	tr := newTrial(f)
	f.Fuzz(func(t *testing.T, preshared bool, script []byte) {
		tr.meet(t, preshared)
		for range maxSteps {
			if len(script) < stepSize {
				break
			}
			tr.step(t, parseStep(script))
			script = script[stepSize:]
		}
		// Whoever accepted too much in silence shows it now.
		tr.stamp = tr.newest
		tr.step(t, step{kind: sayInitiation, a: 1})
		tr.step(t, step{kind: sayData, a: plainIPv4, b: 100})
	})
}
