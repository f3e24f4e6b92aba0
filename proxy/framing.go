package proxy

import (
	"net/http"
	"strconv"
	"strings"
)

// delimiter is what tells the end of a body (RFC 9112, section 6.3).
type delimiter int

const (
	noBody     delimiter = iota
	byLength             // as many bytes as Content-Length says
	byChunks             // the last chunk and its trailer section
	untilClose           // the end of the stream; responses only
)

// framing is how a message says where it ends.
type framing struct {
	delimiter delimiter
	length    int64 // of the body, also of one that is only told of, as to HEAD; -1 if it is not known
}

// appendTo appends the field that tells it to b, if there is one.
func (f framing) appendTo(b []byte) []byte {
	switch {
	case f.delimiter == byChunks:
		return append(b, "Transfer-Encoding: chunked\r\n"...)
	case f.length >= 0:
		b = append(b, "Content-Length: "...)
		return append(strconv.AppendInt(b, f.length, 10), "\r\n"...)
	}
	return b
}

// declaredFraming is what the fields of a message declare, untilClose if nothing. Whatever can be read in two ways is an
// error, as two readers who disagree make two messages out of one: a length beside chunks, a length twice even if it is
// the same, a coding that is not exactly "chunked", chunks in HTTP/1.0.
func declaredFraming(minor int, s fields) (framing, error) {
	length, lengths := s.single("Content-Length")
	coding, codings := s.single("Transfer-Encoding")
	switch {
	case lengths > 1 || codings > 1 || lengths+codings > 1:
		return framing{}, malformed("more than one field that frames the message")
	case codings == 1 && !strings.EqualFold(coding, "chunked"):
		return framing{}, malformed("transfer coding that is not chunked")
	case codings == 1 && minor == 0:
		return framing{}, malformed("transfer coding in HTTP/1.0")
	case codings == 1:
		return framing{byChunks, -1}, nil
	case lengths == 1:
		n, err := strconv.ParseUint(length, 10, 63)
		if err != nil {
			return framing{}, malformed("length that is no number, or too large")
		}
		return framing{byLength, int64(n)}, nil
	}
	return framing{untilClose, -1}, nil
}

// requestFraming is the framing of a request: without a declaration it has no body.
func requestFraming(minor int, s fields) (framing, error) {
	f, err := declaredFraming(minor, s)
	if f.delimiter == untilClose {
		f.delimiter = noBody
	}
	return f, err
}

// responseFraming is the framing of a response, which depends on what it answers.
func responseFraming(method string, status, minor int, s fields) (framing, error) {
	f, err := declaredFraming(minor, s)
	switch {
	case err != nil:
		return f, err
	case status < 200 || status == http.StatusNoContent:
		return framing{noBody, -1}, nil // declared or not (RFC 9112, section 6.1; RFC 9110, section 8.6)
	case method == http.MethodHead || status == http.StatusNotModified:
		return framing{noBody, f.length}, nil
	}
	return f, nil
}
