package proxy

import (
	"iter"
	"slices"
	"strings"
)

// field is a line of a header or trailer section (RFC 9110, section 5), as it was sent but for the space around its value.
type field struct{ name, value string }

// fields are a section, in its order.
type fields []field

// Fields that say something about one connection only, which is not for the other side (RFC 9110, section 7.6.1, and what
// was one in RFC 2616, section 13.5.1).
var hopByHop = []string{
	"connection", "http2-settings", "keep-alive", "proxy-authenticate", "proxy-authentication-info", "proxy-authorization",
	"proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}

// Fields that frame, route, authorize or describe a message: Connection must not take them away, and a trailer section
// must not bring them in when all is decided (RFC 9110, sections 6.5.1 and 7.6.1).
var endToEnd = []string{
	"age", "authorization", "cache-control", "content-encoding", "content-length", "content-range", "content-type", "cookie",
	"date", "expect", "expires", "host", "location", "max-forwards", "origin", "pragma", "range", "retry-after", "set-cookie",
	"vary", "www-authenticate",
}

func isOneOf(name string, names []string) bool {
	return slices.Contains(names, strings.ToLower(name))
}

// values yields the values of the fields of a name.
func (s fields) values(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, f := range s {
			if strings.EqualFold(f.name, name) && !yield(f.value) {
				return
			}
		}
	}
}

// single returns the value of the fields of a name, and how many there are; the value counts only if there is one.
func (s fields) single(name string) (value string, count int) {
	for v := range s.values(name) {
		value = v
		count++
	}
	return value, count
}

// elements yields the elements of all lists in the fields of a name (RFC 9110, section 5.6.1), without the empty ones. It
// knows no quoted strings: it is for lists of tokens.
func (s fields) elements(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for v := range s.values(name) {
			for e := range strings.SplitSeq(v, ",") {
				if e = trimSpace(e); e != "" && !yield(e) {
					return
				}
			}
		}
	}
}

// has reports whether a token is among the elements, in any case.
func (s fields) has(name, token string) bool {
	for e := range s.elements(name) {
		if strings.EqualFold(e, token) {
			return true
		}
	}
	return false
}

// forwardable returns what is for the other side: without the fields that say something about this connection, by their
// nature or because Connection names them, and without those that whoever forwards the message writes: Host and
// Content-Length.
func (s fields) forwardable() fields {
	var options []string
	for option := range s.elements("Connection") {
		if !isOneOf(option, endToEnd) {
			options = append(options, strings.ToLower(option))
		}
	}
	var out fields
	for _, f := range s {
		name := strings.ToLower(f.name)
		if name == "host" || name == "content-length" || slices.Contains(hopByHop, name) || slices.Contains(options, name) {
			continue
		}
		out = append(out, f)
	}
	return out
}

// forwardableTrailers returns what of a trailer section is for the other side.
func (s fields) forwardableTrailers() fields {
	return slices.DeleteFunc(slices.Clone(s), func(f field) bool {
		return isOneOf(f.name, hopByHop) || isOneOf(f.name, endToEnd)
	})
}

// appendTo appends the section to b, without the empty line that ends it.
func (s fields) appendTo(b []byte) []byte {
	for _, f := range s {
		b = append(b, f.name...)
		b = append(b, ": "...)
		b = append(b, f.value...)
		b = append(b, "\r\n"...)
	}
	return b
}
