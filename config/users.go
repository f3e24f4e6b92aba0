package config

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
)

// maxUsersFile is the size of the largest file of users, in bytes.
const maxUsersFile = 1 << 20

// Users maps names to the hashes of their passwords. A name has 1 to 255 bytes
// and no colon, a password has 1 to 255 bytes (RFC 1929, section 2; RFC 7617,
// section 2).
type Users map[string]PasswordHash

// PasswordHash is the SHA-256 of a password. It is printed as a placeholder,
// as short passwords can be guessed from it.
type PasswordHash [sha256.Size]byte

// Equal reports in constant time whether h and other are of the same password.
func (h PasswordHash) Equal(other PasswordHash) bool {
	return subtle.ConstantTimeCompare(h[:], other[:]) == 1
}

// String is a placeholder, never the hash.
func (h PasswordHash) String() string {
	return "(password)"
}

// Format prints the placeholder for every verb.
func (h PasswordHash) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, h.String())
}

// MarshalText gives encoders, and slog through them, the placeholder. It never
// fails.
func (h PasswordHash) MarshalText() ([]byte, error) {
	return []byte(h.String()), nil
}

// readUsers reads the file of those who may log in.
func (p *tomlParser) readUsers(v value) (Users, error) {
	name, text, err := p.readSecret(v, maxUsersFile)
	if err != nil {
		return nil, err
	}
	users, err := parseUsers(text)
	return users, inFile(v, name, err)
}

// parseUsers reads lines of the form name:password. No message repeats a part
// of a line. Empty lines and those that begin with "#" are comments.
func parseUsers(text []byte) (Users, error) {
	users := make(Users)
	n := 0
	for line := range bytes.Lines(bytes.TrimPrefix(text, []byte("\ufeff"))) {
		n++
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		name, password, ok := bytes.Cut(line, []byte(":"))
		_, twice := users[string(name)]
		switch {
		case !ok:
			return nil, badUser(n, "there is no : between name and password")
		case len(name) < 1 || len(name) > 255 || len(password) < 1 || len(password) > 255:
			return nil, badUser(n, "name and password must have 1 to 255 bytes")
		case twice:
			return nil, badUser(n, "this user is there already")
		}
		users[string(name)] = sha256.Sum256(password)
	}
	if len(users) == 0 {
		return nil, &Error{Cause: errors.New("there is no user in this file"), Remedy: "add lines of the form name:password"}
	}
	return users, nil
}

func badUser(line int, cause string) error {
	return &Error{Cause: fmt.Errorf("line %d: %s", line, cause), Remedy: "write lines of the form name:password, each name once"}
}
