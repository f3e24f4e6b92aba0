package proxy

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// response is the head of a response (RFC 9112, section 2.1).
type response struct {
	status  int
	reason  string
	fields  fields
	framing framing
}

// readResponse reads the head of a response to a request with that method. The error is malformed or that of reading.
func readResponse(r *bufio.Reader, method string) (*response, error) {
	line, err := readLine(r, maxStartLine)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	version, rest, _ := strings.Cut(line, " ")
	code, reason, _ := strings.Cut(rest, " ") // many leave out the space before an empty reason
	minor, err := parseVersion(version)
	if err != nil {
		return nil, err
	}
	if len(code) != 3 || !isNumber(code) || code[0] == '0' || !isText(reason) {
		return nil, malformed("status line that is none")
	}
	resp := &response{reason: reason}
	resp.status, _ = strconv.Atoi(code) // can't fail: three digits
	if resp.fields, err = readFields(r); err != nil {
		return nil, err
	}
	resp.framing, err = responseFraming(method, resp.status, minor, resp.fields)
	return resp, err
}

// interim reports whether another response follows, which answers the request (RFC 9110, section 15.2).
func (r *response) interim() bool {
	return r.status < 200 && r.status != http.StatusSwitchingProtocols
}

// head returns the head to send to the client, with the framing and the Connection fields given.
func (r *response) head(f framing, connection string) []byte {
	b := appendStatusLine(nil, r.status, r.reason)
	b = r.fields.forwardable().appendTo(b)
	b = f.appendTo(b)
	return append(b, connection+"\r\n"...)
}

func appendStatusLine(b []byte, status int, reason string) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, reason...)
	return append(b, "\r\n"...)
}
