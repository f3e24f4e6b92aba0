package proxy

import (
	"errors"
	"io"
	"net/netip"

	"github.com/things-go/go-socks5/statute"

	"github.com/wimble-proxy/wimble/forward"
)

// overSOCKS asks for a name and a password (RFC 1929), once that method was chosen. The error wraps what is wrong with the
// login.
func (l *logins) overSOCKS(c *client, r io.Reader) error {
	wrong, err := l.ask(r, forward.Source(c))
	if err != nil {
		return err
	}
	status := statute.AuthSuccess
	if wrong != nil {
		status = statute.AuthFailure
	}
	_, err = c.Write([]byte{statute.UserPassAuthVersion, status})
	return errors.Join(wrong, err)
}

// ask reads the client's answer and returns what is wrong with it. The other error is that of reading.
func (l *logins) ask(r io.Reader, from netip.Addr) (wrong, err error) {
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
