package proxy

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"

	"github.com/things-go/go-socks5"
	"github.com/things-go/go-socks5/statute"
)

// errLogin is how ServeConn tells a wrong name or password.
var errLogin = errors.New("wrong name or password")

// newAuthenticator returns the one way of logging in that users, the names with their passwords, call for.
func newAuthenticator(users map[string]string) (socks5.Authenticator, error) {
	if len(users) == 0 {
		return anonymous{}, nil
	}
	l := login{}
	for name, password := range users {
		// RFC 1929, section 2: both fields have 1 to 255 bytes.
		if len(name) < 1 || len(name) > 255 {
			return nil, fmt.Errorf("proxy: user %q: the name must have 1 to 255 bytes", name)
		}
		if len(password) < 1 || len(password) > 255 {
			return nil, fmt.Errorf("proxy: user %q: the password must have 1 to 255 bytes", name)
		}
		l[sha256.Sum256([]byte(name))] = sha256.Sum256([]byte(password))
	}
	return l, nil
}

// anonymous lets everybody in.
type anonymous struct{}

func (anonymous) GetCode() uint8 { return statute.MethodNoAuth }

func (anonymous) Authenticate(_ io.Reader, w io.Writer, _ string) (*socks5.AuthContext, error) {
	_, err := w.Write([]byte{statute.VersionSocks5, statute.MethodNoAuth})
	return &socks5.AuthContext{Method: statute.MethodNoAuth}, err
}

// login asks for a name and a password (RFC 1929). It maps the SHA-256 of a name to that of the password: equal lengths
// and no names to compare, so time tells nothing about either.
type login map[[sha256.Size]byte][sha256.Size]byte

func (login) GetCode() uint8 { return statute.MethodUserPassAuth }

func (l login) Authenticate(r io.Reader, w io.Writer, _ string) (*socks5.AuthContext, error) {
	if _, err := w.Write([]byte{statute.VersionSocks5, statute.MethodUserPassAuth}); err != nil {
		return nil, err
	}
	ok, err := l.ask(r)
	if err != nil {
		return nil, err
	}
	if !ok {
		_, err := w.Write([]byte{statute.UserPassAuthVersion, statute.AuthFailure})
		return nil, errors.Join(errLogin, err)
	}
	_, err = w.Write([]byte{statute.UserPassAuthVersion, statute.AuthSuccess})
	return &socks5.AuthContext{Method: statute.MethodUserPassAuth}, err
}

// ask reads the client's answer and reports whether it is right. The error is that of reading.
func (l login) ask(r io.Reader) (bool, error) {
	var version [1]byte
	if _, err := io.ReadFull(r, version[:]); err != nil {
		return false, err
	}
	if version[0] != statute.UserPassAuthVersion {
		return false, nil
	}
	name, err := readField(r)
	if err != nil {
		return false, err
	}
	password, err := readField(r)
	if err != nil {
		return false, err
	}
	return l.valid(name, password), nil
}

func (l login) valid(name, password []byte) bool {
	want, known := l[sha256.Sum256(name)]
	got := sha256.Sum256(password)
	// For an unknown name it compares too, with zeros.
	same := subtle.ConstantTimeCompare(got[:], want[:]) == 1
	return known && same
}

// readField reads a byte with a length, and as many bytes.
func readField(r io.Reader) ([]byte, error) {
	var length [1]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	field := make([]byte, length[0])
	_, err := io.ReadFull(r, field)
	return field, err
}
