package proxy

import (
	"errors"
	"io"
	"net/netip"

	"github.com/things-go/go-socks5"
	"github.com/things-go/go-socks5/statute"

	"github.com/wimble-proxy/wimble/forward"
)

// newAuthenticator returns the one way of logging in to SOCKS5; nil logins are for nobody to log in.
func newAuthenticator(l *logins) socks5.Authenticator {
	if l == nil {
		return anonymous{}
	}
	return login{l}
}

// anonymous lets everybody in.
type anonymous struct{}

func (anonymous) GetCode() uint8 { return statute.MethodNoAuth }

func (anonymous) Authenticate(_ io.Reader, w io.Writer, _ string) (*socks5.AuthContext, error) {
	_, err := w.Write([]byte{statute.VersionSocks5, statute.MethodNoAuth})
	return &socks5.AuthContext{Method: statute.MethodNoAuth}, err
}

// login asks for a name and a password (RFC 1929).
type login struct{ *logins }

func (login) GetCode() uint8 { return statute.MethodUserPassAuth }

// Authenticate is given the connection that ServeConn was given as w. Its error wraps what is wrong with the login.
func (l login) Authenticate(r io.Reader, w io.Writer, _ string) (*socks5.AuthContext, error) {
	if _, err := w.Write([]byte{statute.VersionSocks5, statute.MethodUserPassAuth}); err != nil {
		return nil, err
	}
	wrong, err := l.ask(r, forward.Source(w.(*handshake)))
	if err != nil {
		return nil, err
	}
	if wrong != nil {
		_, err := w.Write([]byte{statute.UserPassAuthVersion, statute.AuthFailure})
		return nil, errors.Join(wrong, err)
	}
	_, err = w.Write([]byte{statute.UserPassAuthVersion, statute.AuthSuccess})
	return &socks5.AuthContext{Method: statute.MethodUserPassAuth}, err
}

// ask reads the client's answer and returns what is wrong with it. The other error is that of reading.
func (l login) ask(r io.Reader, from netip.Addr) (wrong, err error) {
	var version [1]byte
	if _, err := io.ReadFull(r, version[:]); err != nil {
		return nil, err
	}
	if version[0] != statute.UserPassAuthVersion {
		return errLogin, nil
	}
	name, err := readField(r)
	if err != nil {
		return nil, err
	}
	password, err := readField(r)
	if err != nil {
		return nil, err
	}
	return l.judge(from, name, password), nil
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
