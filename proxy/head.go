package proxy

import (
	"bufio"
	"io"
	"strings"
)

// Limits of what is parsed, in bytes with the line ends. What goes beyond is errTooLong.
const (
	maxStartLine = 16 << 10
	maxSection   = 32 << 10 // a header or trailer section
	maxFields    = 256      // in a section
)

// malformed is what is wrong with a message. It repeats nothing of it.
type malformed string

func (m malformed) Error() string { return string(m) }

const errTooLong = malformed("too long")

// readLine reads a line and returns it without its CRLF. Nothing but CRLF ends a line: who takes a bare LF for an end
// sees other messages than who does not (RFC 9112, section 2.2). If there is nothing more to read, the error is io.EOF.
func readLine(r *bufio.Reader, limit int) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return "", errTooLong
		}
		line = append(line, part...)
		switch {
		case err == nil:
			text, ok := strings.CutSuffix(string(line), "\r\n")
			if !ok {
				return "", malformed("line that ends without CR")
			}
			return text, nil
		case err == io.EOF && len(line) > 0:
			return "", io.ErrUnexpectedEOF
		case err != bufio.ErrBufferFull:
			return "", err
		}
	}
}

// readFields reads a header or trailer section and the empty line that ends it.
func readFields(r *bufio.Reader) (fields, error) {
	var section fields
	for left := maxSection; ; {
		line, err := readLine(r, left)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		if line == "" {
			return section, nil
		}
		if len(section) == maxFields {
			return nil, errTooLong
		}
		left -= len(line) + len("\r\n")
		f, err := parseField(line)
		if err != nil {
			return nil, err
		}
		section = append(section, f)
	}
}

// parseField parses a field line (RFC 9112, section 5). A line that continues the one before is none, and neither is one
// with space before its colon: others might read more or less into these.
func parseField(line string) (field, error) {
	name, raw, ok := strings.Cut(line, ":")
	if !ok || !isToken(name) {
		return field{}, malformed("field line without a name")
	}
	value := trimSpace(raw)
	if !isText(value) {
		return field{}, malformed("control character in a field")
	}
	// More space than is usual is right, but in these it is only there to be read differently by others.
	if len(raw)-len(value) > 1 && isFraming(name) {
		return field{}, malformed("too much space in a field that frames the message")
	}
	return field{name, value}, nil
}

func isFraming(name string) bool {
	return strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "Transfer-Encoding")
}

// trimSpace trims what is optional white space in HTTP (RFC 9110, section 5.6.3), and nothing else.
func trimSpace(s string) string { return strings.Trim(s, " \t") }

// isToken reports whether s is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if !isAlphanumeric(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || isDigit(c)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isNumber(s string) bool {
	for _, c := range []byte(s) {
		if !isDigit(c) {
			return false
		}
	}
	return s != ""
}

// isText reports whether s has no control characters but tabs, as field values and reason phrases.
func isText(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
