package proxy

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

// smuggled is a request that is only seen by who misreads the one before it.
const smuggled = "GET http://example.com/smuggled HTTP/1.1\r\nHost: example.com\r\n\r\n"

// post is a request with more field lines, and what follows the empty line.
func post(lines, body string) string {
	return "POST http://example.com/ HTTP/1.1\r\nHost: example.com\r\n" + lines + "\r\n" + body
}

// chunks is a request with a body in chunks.
func chunks(body string) string { return post("Transfer-Encoding: chunked\r\n", body) }

// smuggling has messages that some servers read as one request and others as two, after what http-garden and others
// collected.
var smuggling = []struct{ name, said string }{
	{"length and chunks", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"+smuggled)},
	{"chunks and length", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"+smuggled)},
	{"two lengths", post("Content-Length: 5\r\nContent-Length: 0\r\n", "hello"+smuggled)},
	{"the same length twice", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"+smuggled)},
	{"list of lengths", post("Content-Length: 5,5\r\n", "hello"+smuggled)},
	{"length +5", post("Content-Length: +5\r\n", "hello"+smuggled)},
	{"length -5", post("Content-Length: -5\r\n", "hello"+smuggled)},
	{"length 0x5", post("Content-Length: 0x5\r\n", "hello"+smuggled)},
	{"length 1_0", post("Content-Length: 1_0\r\n", "hello"+smuggled)},
	{"length 5 0", post("Content-Length: 5 0\r\n", "hello"+smuggled)},
	{"length 5.0", post("Content-Length: 5.0\r\n", "hello"+smuggled)},
	{"length in quotes", post("Content-Length: \"5\"\r\n", "hello"+smuggled)},
	{"empty length", post("Content-Length:\r\n", "hello"+smuggled)},
	{"length beyond 63 bits", post("Content-Length: 9223372036854775808\r\n", "hello"+smuggled)},
	{"length beyond 64 bits", post("Content-Length: 18446744073709551621\r\n", "hello"+smuggled)},
	{"length behind much space", post("Content-Length:   5\r\n", "hello"+smuggled)},

	{"xchunked", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"+smuggled)},
	{"chunked, identity", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"+smuggled)},
	{"identity", post("Transfer-Encoding: identity\r\n", "0\r\n\r\n"+smuggled)},
	{"gzip, chunked", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"+smuggled)},
	{"chunked twice in a list", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"+smuggled)},
	{"chunked twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"+smuggled)},
	{"chunked and identity", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"+smuggled)},
	{"chunked behind two spaces", post("Transfer-Encoding:  chunked\r\n", "0\r\n\r\n"+smuggled)},
	{"chunked before spaces", post("Transfer-Encoding: chunked  \r\n", "0\r\n\r\n"+smuggled)},
	{"chunked behind a vertical tab", post("Transfer-Encoding: \vchunked\r\n", "0\r\n\r\n"+smuggled)},
	{"chunked before a NUL", post("Transfer-Encoding: chunked\x00\r\n", "0\r\n\r\n"+smuggled)},
	{"chunked in quotes", post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"+smuggled)},
	{"chunked with a parameter", post("Transfer-Encoding: chunked;a=b\r\n", "0\r\n\r\n"+smuggled)},
	{"chunked with a comma", post("Transfer-Encoding: chunked,\r\n", "0\r\n\r\n"+smuggled)},
	{"empty coding", post("Transfer-Encoding:\r\n", "0\r\n\r\n"+smuggled)},
	{"empty coding beside a length", post("Transfer-Encoding:\r\nContent-Length: 5\r\n", "hello"+smuggled)},
	{"chunks in HTTP/1.0", strings.Replace(chunks("0\r\n\r\n"+smuggled), "HTTP/1.1", "HTTP/1.0", 1)},

	{"folded value", post("X: a\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\n"+smuggled)},
	{"folded by a tab", post("Content-Length: 5\r\n\t0\r\n", "hello"+smuggled)},
	{"folded coding", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"+smuggled)},
	{"folded first line", "GET http://example.com/ HTTP/1.1\r\n Host: example.com\r\nHost: a\r\n\r\n" + smuggled},
	{"bare LF in the header", post("X: a\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"+smuggled)},
	{"bare LF behind the request line", "GET http://example.com/ HTTP/1.1\nHost: example.com\r\n\r\n" + smuggled},
	{"bare LF as the empty line", "GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\n" + smuggled},
	{"bare CR in the header", post("X: a\rTransfer-Encoding: chunked\r\n", "0\r\n\r\n"+smuggled)},
	{"two CR", post("X: a\r\r\nContent-Length: 5\r\n", "hello"+smuggled)},
	{"space before the colon", post("Content-Length : 5\r\n", "hello"+smuggled)},
	{"tab before the colon", post("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n"+smuggled)},
	{"NUL in a name", post("Content\x00-Length: 5\r\n", "hello"+smuggled)},
	{"NUL in a value", post("X: a\x00b\r\nContent-Length: 5\r\n", "hello"+smuggled)},
	{"no name", post(": a\r\n", smuggled)},
	{"no colon", post("Content-Length 5\r\n", "hello"+smuggled)},
	{"high byte in a name", post("Content-Length\xa0: 5\r\n", "hello"+smuggled)},

	{"two versions", "GET http://example.com/ HTTP/1.1 HTTP/1.1\r\nHost: example.com\r\n\r\n" + smuggled},
	{"two spaces", "GET  http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n" + smuggled},
	{"tabs in the request line", "GET\thttp://example.com/\tHTTP/1.1\r\nHost: example.com\r\n\r\n" + smuggled},
	{"CR in the target", "GET http://example.com/\rX HTTP/1.1\r\nHost: example.com\r\n\r\n" + smuggled},
	{"NUL in the target", "GET http://example.com/\x00 HTTP/1.1\r\nHost: example.com\r\n\r\n" + smuggled},
	{"space behind the version", "GET http://example.com/ HTTP/1.1 \r\nHost: example.com\r\n\r\n" + smuggled},
	{"lower case version", "GET http://example.com/ http/1.1\r\nHost: example.com\r\n\r\n" + smuggled},
	{"version with more digits", "GET http://example.com/ HTTP/1.10\r\nHost: example.com\r\n\r\n" + smuggled},

	{"chunk size beyond 64 bits", chunks("1ffffffffffffffff\r\nhello\r\n0\r\n\r\n" + smuggled)},
	{"chunk size beyond 63 bits", chunks("8000000000000000\r\nhello\r\n0\r\n\r\n" + smuggled)},
	{"chunk size that wraps to 5", chunks("10000000000000005\r\nhello\r\n0\r\n\r\n" + smuggled)},
	{"chunk size with 0x", chunks("0x5\r\nhello\r\n0\r\n\r\n" + smuggled)},
	{"chunk size +5", chunks("+5\r\nhello\r\n0\r\n\r\n" + smuggled)},
	{"chunk size -5", chunks("-5\r\nhello\r\n0\r\n\r\n" + smuggled)},
	{"chunk size behind a space", chunks(" 5\r\nhello\r\n0\r\n\r\n" + smuggled)},
	{"chunk size before a space", chunks("5 \r\nhello\r\n0\r\n\r\n" + smuggled)},
	{"chunk size with an underscore", chunks("0_5\r\nhello\r\n0\r\n\r\n" + smuggled)},
	{"no chunk size", chunks("\r\nhello\r\n0\r\n\r\n" + smuggled)},
	{"only an extension", chunks(";a\r\nhello\r\n0\r\n\r\n" + smuggled)},
	{"64 KB of chunk extension", chunks("5;a=" + strings.Repeat("b", 64<<10) + "\r\nhello\r\n0\r\n\r\n" + smuggled)},
	{"bare LF in a chunk extension", chunks("0;a\n\r\n\r\n" + smuggled)},
	{"bare CR in a chunk extension", chunks("0;a\rb\r\n\r\n" + smuggled)},
	{"bare LF behind a chunk size", chunks("5\nhello\r\n0\r\n\r\n" + smuggled)},
	{"bare CR behind a chunk size", chunks("5\rhello\r\n0\r\n\r\n" + smuggled)},
	{"bare LF behind a chunk", chunks("5\r\nhello\n0\r\n\r\n" + smuggled)},
	{"chunk longer than its size", chunks("5\r\nhello!\r\n0\r\n\r\n" + smuggled)},
	{"chunk that ends in two other bytes", chunks("5\r\nhelloXX0\r\n\r\n" + smuggled)},
	{"bare LF behind the last chunk", chunks("0\n\r\n" + smuggled)},
	{"bare LF behind the trailers", chunks("0\r\n\n" + smuggled)},
	{"request for a trailer", chunks("0\r\n" + smuggled)},
	{"folded trailer", chunks("0\r\nX: a\r\n b\r\n\r\n" + smuggled)},
}

// TestH8 has each of them in each of the ways that they can arrive, with an honest request behind it in the last: the
// client hears 400 and the end, and at origins there is never more than the one request, and never the other.
func TestH8(t *testing.T) {
	for _, tt := range smuggling {
		for _, mode := range []struct {
			name     string
			behind   string
			byteWise bool
		}{{"one write", "", false}, {"byte by byte", "", true}, {"coalesced", getRequest, false}} {
			t.Run(fmt.Sprintf("%s/%s", tt.name, mode.name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o := &oracle{}
					s := serve(t, Config{Dial: o.dial})
					defer s.end(t)
					c := s.connect()
					defer c.Close()
					go trickle(c, tt.said+mode.behind, mode.byteWise)
					answer, err := io.ReadAll(c)
					if err != nil {
						t.Errorf("read: %v", err)
					}
					c.Close()
					if !strings.HasPrefix(string(answer), "HTTP/1.1 400 Bad Request\r\n") ||
						!strings.Contains(string(answer), "\r\nConnection: close\r\n") || strings.Count(string(answer), "HTTP/1.1 ") != 1 {
						t.Errorf("the client heard\n%q\nwant one response, 400, and that the connection ends", answer)
					}
					if n, heard := o.requests(); n > 1 || strings.Contains(heard, "smuggled") {
						t.Errorf("%d requests at the origin, which heard\n%q", n, heard)
					}
				})
			})
		}
	}
}

// trickle writes s at once or byte by byte, until it is written or nobody wants any more.
func trickle(c io.Writer, s string, byteWise bool) {
	if !byteWise {
		_, _ = io.WriteString(c, s)
		return
	}
	for i := range len(s) {
		if _, err := io.WriteString(c, s[i:i+1]); err != nil {
			return
		}
	}
}
