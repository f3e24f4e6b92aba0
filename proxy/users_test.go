package proxy

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wimble-proxy/wimble/forward"
)

// TestS29 guesses passwords in both protocols from one address: five guesses are looked at, then one every ten seconds.
// Another address is not affected, and the right password is not looked at either meanwhile: it would be a guess too.
func TestS29(t *testing.T) {
	guess := func(t *testing.T, s *served, source, password string) (answer string) {
		c := s.connectFrom(source)
		defer c.Close()
		pair := base64.StdEncoding.EncodeToString([]byte("ann:" + password))
		send(c, with(connectRequest, "Proxy-Authorization: Basic "+pair+"\r\n"))
		status := make([]byte, len("HTTP/1.1 200"))
		_, _ = c.Read(status)
		return string(status[9:])
	}
	guessSOCKS := func(t *testing.T, s *served, source, password, want string) {
		c := s.connectFrom(source)
		defer c.Close()
		send(c, helloLogin+credentials("ann", password))
		expect(t, c, askLogin+want)
	}
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Config{Users: users, Dial: echo})
		defer s.end(t)
		const source, other = "192.0.2.9", "192.0.2.10"
		for i := range maxStrikes {
			if i%2 == 0 {
				guessSOCKS(t, s, source, "guess", "\x01\x01")
			} else if got := guess(t, s, source, "guess"); got != "407" {
				t.Errorf("guess %d: status %s, want 407", i, got)
			}
		}
		if got := guess(t, s, source, "secret"); got != "429" {
			t.Errorf("right, but after too many guesses: status %s, want 429", got)
		}
		guessSOCKS(t, s, source, "secret", "\x01\x01")
		if got := guess(t, s, other, "secret"); got != "200" {
			t.Errorf("right, from another address: status %s, want 200", got)
		}
		if got := waitStats(s); got.BadLogins != maxStrikes || got.Throttled != 2 {
			t.Errorf("%d bad logins and %d throttled, want %d and 2", got.BadLogins, got.Throttled, maxStrikes)
		}

		time.Sleep(strikeTime)
		if got := guess(t, s, source, "guess"); got != "407" {
			t.Errorf("wrong, ten seconds later: status %s, want 407", got)
		}
		if got := guess(t, s, source, "guess"); got != "429" {
			t.Errorf("wrong, again: status %s, want 429", got)
		}
		time.Sleep(strikeTime)
		if got := guess(t, s, source, "secret"); got != "200" {
			t.Errorf("right, ten seconds later: status %s, want 200", got)
		}
		time.Sleep(maxStrikes * strikeTime)
		for range maxStrikes {
			guessSOCKS(t, s, source, "guess", "\x01\x01")
		}
		if got := waitStats(s).BadLogins; got != 2*maxStrikes+1 {
			t.Errorf("%d bad logins, want %d: all strikes were forgiven", got, 2*maxStrikes+1)
		}
		time.Sleep(lingerTimeout)
	})
}

// TestThrottledSays has the whole of the answer.
func TestThrottledSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Config{Users: users, Dial: echo})
		defer s.end(t)
		c := s.connect()
		defer c.Close()
		wrong := with(getRequest, "Proxy-Authorization: Basic YW5uOnNlY3JlVA==\r\n")
		for range maxStrikes {
			send(c, wrong)
			expect(t, c, loginRefused(wrongLogin, kept))
		}
		send(c, wrong)
		expect(t, c, refused(429, "", "there were too many wrong logins from this address", "Retry-After: 10", kept))
	})
}

// TestStrikesAreBounded has more addresses than are remembered: those that were quiet for longest go first.
func TestStrikesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s strikes
		early, late := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:0:1::1")
		for range maxStrikes {
			s.add(early)
			s.add(late)
		}
		for i := range maxStruck {
			if i == 1 {
				s.add(late)
			}
			s.add(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
		}
		if len(s.bySite) != maxStruck || s.byAge.Len() != maxStruck {
			t.Errorf("%d and %d addresses are remembered, want %d", len(s.bySite), s.byAge.Len(), maxStruck)
		}
		if s.out(early) || !s.out(late) {
			t.Errorf("the early guesser has to wait: %v, the late one: %v; want only the late one", s.out(early), s.out(late))
		}
	})
}

// TestStrikesOfASite has addresses that belong to one host, or not.
func TestStrikesOfASite(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
	} {
		if got := site(netip.MustParseAddr(tt.a)) == site(netip.MustParseAddr(tt.b)); got != tt.same {
			t.Errorf("%s and %s count as one: %v, want %v", tt.a, tt.b, got, tt.same)
		}
	}
}

func TestAllowClients(t *testing.T) {
	allowed := []netip.Prefix{netip.MustParsePrefix("172.17.0.0/16"), netip.MustParsePrefix("fe80::/10")}
	for _, tt := range []struct {
		source string
		want   bool
	}{
		{"172.17.3.4", true},
		{"::ffff:172.17.3.4", true},
		{"fe80::1%eth0", true},
		{"172.18.0.1", false},
		{"2001:db8::1", false},
		{"127.0.0.1", false},
	} {
		t.Run(tt.source, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, Config{AllowClients: allowed, Dial: echo})
				defer s.end(t)
				c := s.connectFrom(tt.source)
				defer c.Close()
				if !tt.want {
					expectEnd(t, c, time.Second)
					if got := waitStats(s); got.Denied != 1 || got.Handshakes != 0 {
						t.Errorf("%d denied, %d handshakes; want 1 and 0", got.Denied, got.Handshakes)
					}
					return
				}
				send(c, hello)
				expect(t, c, welcome)
			})
		})
	}
}

// TestAllowClientsOfASocket has a client without an address, which the file system has let in.
func TestAllowClientsOfASocket(t *testing.T) {
	s, err := New(Config{Dial: echo, AllowClients: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	near, _ := newMemPair()
	near.remote = &net.UnixAddr{Net: "unix"}
	if c := s.newClient(t.Context(), near); !s.cfg.AllowClients.Allow(forward.Source(c)) {
		t.Error("a client of a Unix socket is not allowed")
	}
	if got := fmt.Sprint(s.cfg.Users); got != "map[]" {
		t.Errorf("the server keeps %s", got)
	}
}
