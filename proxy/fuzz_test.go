package proxy

import (
	"bytes"
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// FuzzNegotiate gives a client's bytes to a server, with or without users. Whatever they are, the connection ends, no
// goroutine is left (the bubble would not end), the server says only what RFC 1928 and RFC 1929 have, and Dial is asked
// for nothing that its comment excludes. If there is a target, what it gets is what follows the request.
func FuzzNegotiate(f *testing.F) {
	for _, d := range dialogues {
		var said strings.Builder
		for _, e := range d.says {
			said.WriteString(e.send)
		}
		f.Add(d.users != nil, []byte(said.String()+"early"))
	}
	f.Fuzz(func(t *testing.T, withUsers bool, said []byte) {
		synctest.Test(t, func(t *testing.T) {
			var dialed []string
			var delivered []byte
			var target sync.WaitGroup
			cfg := Config{Protocols: []Protocol{SOCKS5}, Dial: func(_ context.Context, _, address string) (net.Conn, error) {
				dialed = append(dialed, address)
				near, far := newMemPair()
				target.Go(func() {
					delivered, _ = io.ReadAll(far)
					far.Close()
				})
				return near, nil
			}}
			if withUsers {
				cfg.Users = users
			}
			s, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}

			client, server := newClientPair("127.0.0.1")
			var heard []byte
			var all sync.WaitGroup
			all.Go(func() {
				_, _ = client.Write(said)
				_ = client.CloseWrite()
			})
			all.Go(func() { heard, _ = io.ReadAll(client) })
			s.serve(t.Context(), t.Context(), server)
			server.Close()
			target.Wait()
			all.Wait()
			client.Close()

			if got := s.Stats(); got.Handshakes != 0 || got.Conns != 0 {
				t.Fatalf("%d handshakes and %d connections left", got.Handshakes, got.Conns)
			}
			checkHeard(t, heard, withUsers)
			switch {
			case len(dialed) > 1:
				t.Errorf("dialed %q: one request, one dial", dialed)
			case len(dialed) == 1:
				checkAddress(t, dialed[0])
				if want := behindRequest(said, withUsers); bytes.HasSuffix(heard, []byte(success4)) && !bytes.Equal(delivered, want) {
					t.Errorf("the target got % x, want % x", delivered, want)
				}
			}
		})
	})
}

// checkHeard checks what a server said against the messages that it may say, one after the other.
func checkHeard(t *testing.T, heard []byte, withUsers bool) {
	t.Helper()
	rest := heard
	next := func(messages ...string) (string, bool) {
		for _, m := range messages {
			if bytes.HasPrefix(rest, []byte(m)) {
				rest = rest[len(m):]
				return m, true
			}
		}
		return "", false
	}
	stage := func() bool {
		if !withUsers {
			m, ok := next(welcome, "\x05\xff")
			return ok && m == welcome
		}
		if m, ok := next(askLogin, "\x05\xff"); !ok || m != askLogin {
			return false
		}
		m, ok := next("\x01\x00", "\x01\x01")
		return ok && m == "\x01\x00"
	}
	if stage() {
		next(success4, failure(1), failure(7), failure(8))
	}
	if len(rest) != 0 {
		t.Errorf("the server said % x, and % x of that has no place in the protocol", heard, rest)
	}
}

// behindRequest returns what follows the request in what a client said, which is known to be well-formed so far.
func behindRequest(said []byte, withUsers bool) []byte {
	said = said[2+int(said[1]):] // methods
	if withUsers {
		said = said[2+int(said[1]):] // name
		said = said[1+int(said[0]):] // password
	}
	kind, address := said[3], said[4:]
	return address[map[byte]int{1: 4, 3: 1 + int(address[0]), 4: 16}[kind]+2:]
}

// checkAddress checks an address as the comment of Dial describes it.
func checkAddress(t *testing.T, address string) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatalf("dialed %q: %v", address, err)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		t.Errorf("dialed %q: port", address)
	}
	if len(host) < 1 || len(host) > 255 || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		t.Errorf("dialed %q: host", address)
	}
	if ip := net.ParseIP(host); ip == nil && strings.ContainsAny(host, `:/\[]@%`) {
		t.Errorf("dialed %q: a name with characters that names don't have", address)
	}
}
