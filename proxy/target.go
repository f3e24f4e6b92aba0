package proxy

import (
	"net"
	"strconv"
	"strings"
)

// form is one of the four of a request target (RFC 9112, section 3.2).
type form int

const (
	originForm    form = iota // "/path?query"
	absoluteForm              // "http://host:port/path?query"
	authorityForm             // "host:port", for CONNECT only
	asteriskForm              // "*", for OPTIONS only
)

// target is a request target, checked and taken apart.
type target struct {
	form form

	// Absolute and authority form have these.
	authority string // as it was sent, but for an empty port
	address   string // as Dial wants it

	// Absolute and origin form have this: path and query as they were sent, at least a slash; or the asterisk.
	path string
}

// parseTarget parses the target of a request with that method. The error is malformed.
func parseTarget(method, s string) (target, error) {
	for _, c := range []byte(s) {
		if c <= ' ' || c == 0x7f || c == '#' {
			return target{}, malformed("target with a space, a control character or a fragment")
		}
	}
	switch {
	case method == "CONNECT":
		address, err := parseAuthority(s, "")
		return target{form: authorityForm, authority: s, address: address}, err
	case s == "*" && method == "OPTIONS":
		return target{form: asteriskForm, path: s}, nil
	case strings.HasPrefix(s, "/"):
		return target{form: originForm, path: s}, checkPath(s)
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return target{}, malformed("target that is no URI")
	}
	if !strings.EqualFold(scheme, "http") {
		return target{}, malformed("target with a scheme that is not http: ask for it with CONNECT")
	}
	return parseAbsolute(method, rest)
}

// parseAbsolute parses what follows "http://".
func parseAbsolute(method, s string) (target, error) {
	authority, path := s, ""
	if i := strings.IndexAny(s, "/?"); i >= 0 {
		authority, path = s[:i], s[i:]
	}
	if host, empty := strings.CutSuffix(authority, ":"); empty && portColon(host) < 0 { // RFC 3986, section 3.2.3
		authority = host
	}
	address, err := parseAuthority(authority, "80")
	if err != nil {
		return target{}, err
	}
	switch {
	case path == "" && method == "OPTIONS": // RFC 9112, section 3.2.4
		path = "*"
	case !strings.HasPrefix(path, "/"):
		path = "/" + path
	}
	return target{form: absoluteForm, authority: authority, address: address, path: path}, checkPath(path)
}

// parseAuthority parses "host:port", and returns it as Dial wants it. If there is no port it is the one given; if that is
// none either, there has to be one. Userinfo is an error: it is only there to deceive (RFC 9110, section 4.2.4).
func parseAuthority(s, defaultPort string) (address string, err error) {
	host, port := s, defaultPort
	if i := portColon(s); i >= 0 {
		host, port = s[:i], s[i+1:]
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
		return "", malformed("no port from 1 to 65535")
	}
	for _, c := range []byte(strings.Trim(host, "[]")) {
		if !isAlphanumeric(c) && strings.IndexByte("-._:", c) < 0 {
			return "", malformed("host with a character that names don't have")
		}
	}
	if len(host) > 255 || isBareIPv6(host) {
		return "", malformed("host that is too long, or IPv6 without brackets")
	}
	if host, err = hostOf(host); err != nil {
		return "", malformed("host that is neither an address nor a name")
	}
	return net.JoinHostPort(host, port), nil
}

// portColon is where an authority has the colon before its port, or negative.
func portColon(s string) int {
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		return i
	}
	return -1
}

func isBareIPv6(host string) bool {
	return strings.Contains(host, ":") && !strings.HasPrefix(host, "[")
}

// checkPath checks path and query: percent signs must have their digits, and a path has no encoded NUL, CR or LF. These
// are for origins that decode too often. Queries have line ends in earnest, from forms.
func checkPath(s string) error {
	path, _, _ := strings.Cut(s, "?")
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			continue
		}
		code, err := strconv.ParseUint(path[i+1:min(i+3, len(path))], 16, 8)
		if err != nil || i+2 >= len(path) {
			return malformed("path with a percent sign that encodes nothing")
		}
		if code == 0 || code == '\r' || code == '\n' {
			return malformed("path with a NUL or line end in it")
		}
	}
	return nil
}
