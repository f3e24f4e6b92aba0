package wireguard

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// witness collects what a Device lets out, and the secrets that must not be in
// it. It is the source of randomness as well, so that it knows what became an
// ephemeral key or the secret of the cookies.
type witness struct {
	mu      sync.Mutex
	out     bytes.Buffer
	secrets map[string][]byte
}

func (w *witness) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(b)
}

func (w *witness) Read(b []byte) (int, error) {
	n, err := rand.Read(b)
	if len(b) >= key.Size {
		w.secret(fmt.Sprintf("random %x", b[:2]), b)
	}
	w.stack()
	return n, err
}

func (w *witness) secret(name string, b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets[name] = bytes.Clone(b)
}

// print takes values down in each way that people print them.
func (w *witness) print(values ...any) {
	for _, v := range values {
		fmt.Fprintf(w, "%v\n%+v\n%#v\n", v, v, v)
	}
}

// stack takes down what a panic would print here: every goroutine with its
// arguments.
func (w *witness) stack() {
	b := make([]byte, 1<<20)
	_, _ = w.Write(b[:runtime.Stack(b, true)])
}

// traces are the ways in which a text may give b away: as it is, in hex, in
// base64, as numbers, as words among the arguments of a stack trace.
func traces(b []byte) []string {
	part := b[4:12] // no clamped byte among them
	return []string{
		string(part),
		hex.EncodeToString(part),
		strings.ToUpper(hex.EncodeToString(part)),
		base64.StdEncoding.EncodeToString(b[3:12]),
		base64.RawURLEncoding.EncodeToString(b[3:12]),
		strings.Trim(fmt.Sprint(part), "[]"),
		strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", part), "[]byte{"), "}"),
		fmt.Sprintf("%#x", binary.LittleEndian.Uint64(b[8:])),
		fmt.Sprintf("%#x", binary.BigEndian.Uint64(b[8:])),
	}
}

// search fails the test for every secret that came out.
func (w *witness) search(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	text := w.out.String()
	for name, b := range w.secrets {
		for i, trace := range traces(b) {
			if at := strings.Index(text, trace); at >= 0 {
				line := text[strings.LastIndex(text[:at], "\n")+1:]
				t.Errorf("the %s is in the output, form %d: %.100q", name, i, line)
			}
		}
	}
}

// TestW24Secrets leads a Device through handshakes, cookies, refusals, changes
// and errors with everything that it can tell switched on, and searches all of
// it for every secret that played a part.
func TestW24Secrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &witness{secrets: map[string][]byte{}}
		psk := preshared(t, w, "first preshared key")
		var config Config
		a, p := script(t, func(c *Config) {
			c.Rand, c.Logger = w, slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
			c.Peers[0].PresharedKey = &psk
			c.Resolve = new(nameServer).resolve
			deliver := c.Deliver
			c.Deliver = func(packets [][]byte) { w.stack(); deliver(packets) }
			c.OnEvent = func(e engine.Event) { w.print(e); w.stack() }
			config = *c
		})
		p.psk = psk
		shared, err := a.private.DH(p.id.Public())
		if err != nil {
			t.Fatal(err)
		}
		w.secret("private key", secretBytes(a.private))
		w.secret("static Diffie-Hellman result", shared[:])

		a.sendTo(t, p, 1, 84)
		p.accept()
		p.sessionSecrets(w)
		p.open(p.want(message.TypeData, "a session that the Device began"))
		p.connect()
		p.sessionSecrets(w)
		p.say(p.data(packet(p.inner, a.inner, 84)), p.data(packet(a.inner, p.inner, 84)), forged(t, a.private.Public()))
		if a.received() != 1 {
			t.Fatal("a session that the peer began")
		}
		a.overload(t)
		p.say(p.initiation())
		p.want(message.TypeCookieReply, "the Device is under load")

		next := preshared(t, w, "second preshared key")
		fresh := ephemeralKey(t)
		w.secret("second private key", secretBytes(fresh))
		port := uint16(7)
		listen(t, p.net, p.speaker, netip.AddrPortFrom(p.to.Addr(), port), p.to)
		for _, c := range []Change{
			{ListenPort: &port},
			{Peers: []PeerChange{{EndpointName: "nowhere.example:1", PeerChange: engine.PeerChange{PublicKey: p.id.Public(), PresharedKey: &next}}}},
			{PrivateKey: &fresh},
		} {
			w.print(c, &c, a.Apply(c))
		}
		a.sendTo(t, p, 1, 84)
		time.Sleep(15 * time.Minute) // gives up, and wipes
		w.print(a.Snapshot(), a.Drops(), config, &config, ErrNoPeer, ErrNoEndpoint)
		config.MTU = -1
		_, err = New(config)
		w.print(err)
		config.MTU = 0
		still, err := New(config) // that does not run: printing one that does is a race
		w.print(still, err)

		w.search(t)
		if n := len(w.secrets); n < 12 {
			t.Errorf("%d secrets known, want every key of two private ones, two sessions and their handshakes", n)
		}
		for _, logged := range []string{"level=INFO msg=handshake", "level=DEBUG msg=initiation", `msg="no answer`, "does not resolve", "(*receiver).trains", "runHandshakes", "address already in use"} {
			if !strings.Contains(w.out.String(), logged) {
				t.Errorf("%q is not in the output: the test shows less than it should", logged)
			}
		}
	})
}

// TestW24SearchFinds: the search finds what it looks for.
func TestW24SearchFinds(t *testing.T) {
	secret := make([]byte, key.Size)
	_, _ = rand.Read(secret)
	for _, printed := range []string{
		fmt.Sprint(secret), fmt.Sprintf("%x", secret), fmt.Sprintf("%#v", secret), fmt.Sprintf("%+v", struct{ k [32]byte }{[32]byte(secret)}),
		string(secret), base64.StdEncoding.EncodeToString(secret), base64.URLEncoding.EncodeToString(secret),
		fmt.Sprintf("f(0x1, %#x)", binary.LittleEndian.Uint64(secret[8:])),
	} {
		found := false
		for _, trace := range traces(secret) {
			found = found || strings.Contains(printed, trace)
		}
		if !found {
			t.Errorf("nothing found in %q", printed)
		}
	}
}

func (s *speaker) sessionSecrets(w *witness) {
	w.secret(fmt.Sprintf("key of session %d to send with", s.local), s.keys.Send[:])
	w.secret(fmt.Sprintf("key of session %d to receive with", s.local), s.keys.Receive[:])
}

func preshared(t *testing.T, w *witness, name string) key.Preshared {
	t.Helper()
	k, err := key.NewPreshared(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := k.Bytes()
	w.secret(name, b[:])
	return k
}

func secretBytes(k key.Private) []byte {
	b := k.Bytes()
	return b[:]
}
