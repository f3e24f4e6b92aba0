package proxy

import (
	"bufio"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// request is the head of a request (RFC 9112, section 2.1), checked as a proxy must.
type request struct {
	method  string
	target  target
	minor   int // of the version: HTTP/1.minor
	fields  fields
	framing framing
}

// readRequest reads the head of a request, and an empty line before it (RFC 9112, section 2.2). The error is a refusal, or
// that of reading; io.EOF is for no request at all.
func readRequest(r *bufio.Reader) (*request, error) {
	line, err := readLine(r, maxStartLine)
	if err == nil && line == "" {
		line, err = readLine(r, maxStartLine)
	}
	if err != nil {
		return nil, requestError(err, http.StatusRequestURITooLong)
	}
	req, err := parseRequestLine(line)
	if err != nil {
		return nil, err
	}
	if req.fields, err = readFields(r); err != nil {
		return nil, requestError(err, http.StatusRequestHeaderFieldsTooLarge)
	}
	if err := req.check(); err != nil {
		return nil, err
	}
	return req, nil
}

// requestError is the refusal for an error of parsing; tooLong is the status for errTooLong.
func requestError(err error, tooLong int) error {
	var m malformed
	switch {
	case err == errTooLong:
		return newRefusal(tooLong, "http_request_error", "the request's head is too long")
	case errors.As(err, &m):
		return newRefusal(http.StatusBadRequest, "http_request_error", "the request is malformed: "+m.Error())
	}
	return err
}

// parseRequestLine parses "method target version" (RFC 9112, section 3).
func parseRequestLine(line string) (*request, error) {
	method, rest, _ := strings.Cut(line, " ")
	uri, version, ok := strings.Cut(rest, " ")
	if !ok || !isToken(method) || !isVersion(version) {
		return nil, requestError(malformed("request line that is not method, target and version"), 0)
	}
	minor, err := parseVersion(version)
	if err != nil {
		return nil, newRefusal(http.StatusHTTPVersionNotSupported, "http_request_error", "only HTTP/1.1 and HTTP/1.0 are spoken here")
	}
	t, err := parseTarget(method, uri)
	if err != nil {
		return nil, requestError(err, 0)
	}
	return &request{method: method, target: t, minor: minor}, nil
}

// isVersion reports whether s is a version of HTTP, be it one that we know or not.
func isVersion(s string) bool {
	digits, ok := strings.CutPrefix(s, "HTTP/")
	return ok && len(digits) == 3 && isDigit(digits[0]) && digits[1] == '.' && isDigit(digits[2])
}

// parseVersion returns the minor version of the ones that we know.
func parseVersion(s string) (minor int, err error) {
	switch s {
	case "HTTP/1.1":
		return 1, nil
	case "HTTP/1.0":
		return 0, nil
	}
	return 0, malformed("unknown version")
}

// check checks the fields, and what they say of the body.
func (r *request) check() error {
	var err error
	if r.framing, err = requestFraming(r.minor, r.fields); err != nil {
		return requestError(err, 0)
	}
	host, hosts := r.fields.single("Host")
	if hosts > 1 || hosts == 0 && r.minor > 0 { // RFC 9112, section 3.2
		return requestError(malformed("not exactly one Host field"), 0)
	}
	if _, err := parseAuthority(host, "80"); host != "" && err != nil {
		return requestError(malformed("Host field that is none"), 0)
	}
	// RFC 9110, sections 9.3.6 and 9.3.8. Some clients send a length of 0 with CONNECT.
	if r.hasBody() && (r.method == http.MethodConnect || r.method == http.MethodTrace) {
		return requestError(malformed("body where there can be none"), 0)
	}
	if value, counts := r.hops(); counts && !isNumber(value) {
		return requestError(malformed("Max-Forwards field that is no number"), 0)
	}
	for e := range r.fields.elements("Expect") {
		if !strings.EqualFold(e, "100-continue") {
			return newRefusal(http.StatusExpectationFailed, "http_request_error", "only 100-continue can be expected")
		}
	}
	return nil
}

func (r *request) hasBody() bool {
	return r.framing.delimiter == byChunks || r.framing.length > 0
}

// persists reports whether the connection may be used again, as far as the request says. A proxy does not do that for
// HTTP/1.0, whatever the request says (RFC 9112, section 9.3).
func (r *request) persists() bool {
	return r.minor > 0 && !r.fields.has("Connection", "close")
}

// upgrades returns the protocols that the client would like to change to, as a list: none for HTTP/1.0 (RFC 9110, section
// 7.8); none beside a body, which would have to be sent before; and not h2c, which needs the field HTTP2-Settings, and
// that is for one connection only.
func (r *request) upgrades() string {
	if r.minor == 0 || r.hasBody() || !r.fields.has("Connection", "upgrade") {
		return ""
	}
	var list []string
	for e := range r.fields.elements("Upgrade") {
		if !strings.EqualFold(e, "h2c") {
			list = append(list, e)
		}
	}
	return strings.Join(list, ", ")
}

// hops returns the value of Max-Forwards, and whether it counts, which it does for two methods (RFC 9110, section 7.6.2).
func (r *request) hops() (value string, counts bool) {
	if r.method != http.MethodTrace && r.method != http.MethodOptions {
		return "", false
	}
	value, count := r.fields.single("Max-Forwards")
	if count > 1 {
		value = ""
	}
	return value, count > 0
}

// hop counts Max-Forwards down. It reports false if we are where the request ends.
func (r *request) hop() (further bool) {
	value, counts := r.hops()
	if !counts {
		return true
	}
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil {
		n = math.MaxUint32 // the most that we count
	}
	if n == 0 {
		return false
	}
	for i, f := range r.fields {
		if strings.EqualFold(f.name, "Max-Forwards") {
			r.fields[i].value = strconv.FormatUint(n-1, 10)
		}
	}
	return true
}

// head returns the head to send to the origin. Its connection is for this request only.
func (r *request) head() []byte {
	b := []byte(r.method + " " + r.target.path + " HTTP/1.1\r\nHost: " + r.target.authority + "\r\n")
	for _, f := range r.fields.forwardable() {
		if r.minor == 0 && strings.EqualFold(f.name, "Expect") {
			continue // RFC 9110, section 10.1.1
		}
		b = fields{f}.appendTo(b)
	}
	b = r.framing.appendTo(b)
	if list := r.upgrades(); list != "" {
		return append(b, "Connection: Upgrade\r\nUpgrade: "+list+"\r\n\r\n"...)
	}
	return append(b, "Connection: close\r\n\r\n"...)
}

// trace returns the request as we have got it, without what is for nobody's eyes (RFC 9110, section 9.3.8).
func (r *request) trace() string {
	b := []byte(r.method + " http://" + r.target.authority + r.target.path + " HTTP/1." + strconv.Itoa(r.minor) + "\r\n")
	for _, f := range r.fields {
		if !isOneOf(f.name, []string{"authorization", "cookie", "proxy-authorization"}) {
			b = fields{f}.appendTo(b)
		}
	}
	return string(append(b, "\r\n"...))
}
