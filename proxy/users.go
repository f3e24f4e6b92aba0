package proxy

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
)

// Users maps the names of those who may log in to the hashes of their passwords. A name has 1 to 255 bytes (RFC 1929,
// section 2), and no colon if HTTP is served (RFC 7617, section 2).
type Users map[string]PasswordHash

// PasswordHash is the SHA-256 of a password. It is printed as a placeholder, as short passwords can be guessed from it.
type PasswordHash [sha256.Size]byte

// HashPassword returns the hash of a password, which needs to have 1 to 255 bytes to be of use (RFC 1929, section 2).
func HashPassword(password string) PasswordHash {
	return sha256.Sum256([]byte(password))
}

// Format prints the placeholder for every verb.
func (PasswordHash) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(password)") }

// MarshalText gives encoders, and slog through them, the placeholder. It never fails.
func (PasswordHash) MarshalText() ([]byte, error) { return []byte("(password)"), nil }

// logins decides who may log in. It is one for all protocols, so that guesses count wherever they are made.
type logins struct {
	// users maps the SHA-256 of a name to that of the password: equal lengths and no names to compare, so time tells
	// nothing about either.
	users map[[sha256.Size]byte]PasswordHash

	mu      sync.Mutex // guards strikes
	strikes strikes
}

// newLogins returns nil if there are no users, as there is no login then.
func newLogins(users Users, overHTTP bool) (*logins, error) {
	if len(users) == 0 {
		return nil, nil
	}
	l := &logins{users: make(map[[sha256.Size]byte]PasswordHash, len(users))}
	for name, password := range users {
		switch {
		case len(name) < 1 || len(name) > 255:
			return nil, fmt.Errorf("proxy: user %q: the name must have 1 to 255 bytes", name)
		case overHTTP && strings.Contains(name, ":"):
			return nil, fmt.Errorf("proxy: user %q: the name has a colon, which HTTP takes for its end", name)
		case password == HashPassword("") || password == PasswordHash{}:
			return nil, fmt.Errorf("proxy: user %q: the password is empty", name)
		}
		l.users[sha256.Sum256([]byte(name))] = password
	}
	return l, nil
}

// What is wrong with a login.
var (
	errLogin   = errors.New("wrong name or password")
	errTooMany = errors.New("too many wrong logins from this address")
)

// judge returns what is wrong with a login that came from an address: nothing, errLogin, or errTooMany when it was not
// looked at. Logins are judged one after the other: of many at the same time, no more than the strikes allow are looked at.
func (l *logins) judge(from netip.Addr, name, password []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.strikes.out(from) {
		return errTooMany
	}
	if !l.valid(name, password) {
		l.strikes.add(from)
		return errLogin
	}
	return nil
}

func (l *logins) valid(name, password []byte) bool {
	want, known := l.users[sha256.Sum256(name)]
	got := sha256.Sum256(password)
	// For an unknown name it compares too, with zeros.
	same := subtle.ConstantTimeCompare(got[:], want[:]) == 1
	return known && same
}
