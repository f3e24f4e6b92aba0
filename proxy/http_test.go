package proxy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A request and its answer, as client and origin see them.
const (
	getRequest = "GET http://example.com/a?b HTTP/1.1\r\nHost: example.com\r\n\r\n"
	getAtFar   = "GET /a?b HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n"
	okResponse = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

	connectRequest = "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"
	established    = "HTTP/1.1 200 OK\r\n\r\n"

	annSecret = "Proxy-Authorization: Basic YW5uOnNlY3JldA==\r\n"
)

// getSteps is what the origin of getRequest does.
var getSteps = []step{{getAtFar, okResponse}}

// with puts field lines into a request.
func with(request, lines string) string {
	return strings.TrimSuffix(request, "\r\n") + lines + "\r\n"
}

// refused is a response of the proxy's own. It says that the connection ends, unless a field says that it is kept.
func refused(status int, cause, text string, lines ...string) string {
	text = "wimble: " + text + "\n"
	b := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"+
		"Cache-Control: no-store\r\n", status, http.StatusText(status))
	if cause != "" {
		b += "Proxy-Status: wimble; error=" + cause + "\r\n"
	}
	end := "Connection: close\r\n"
	for _, line := range lines {
		if line == kept {
			end = ""
			continue
		}
		b += line + "\r\n"
	}
	return fmt.Sprintf("%sContent-Length: %d\r\n%s\r\n%s", b, len(text), end, text)
}

const kept = "(kept)"

func malformedRequest(text string) string {
	return refused(400, "http_request_error", "the request is malformed: "+text)
}

func loginRefused(text string, lines ...string) string {
	return refused(407, "", text, append([]string{`Proxy-Authenticate: Basic realm="wimble", charset="UTF-8"`}, lines...)...)
}

const (
	noPort     = "no port from 1 to 65535"
	noURI      = "target that is no URI"
	noHTTP     = "target with a scheme that is not http: ask for it with CONNECT"
	badHost    = "host with a character that names don't have"
	bareIPv6   = "host that is too long, or IPv6 without brackets"
	noHost     = "host that is neither an address nor a name"
	badByte    = "target with a space, a control character or a fragment"
	oneHost    = "not exactly one Host field"
	noName     = "this proxy wants a name and a password"
	wrongLogin = "the name or the password is wrong"
	noLine     = "request line that is not method, target and version"
)

// httpDialogue is what a client says and hears, and what the origins do, one for each connection.
type httpDialogue struct {
	name    string
	users   Users
	says    []turn
	origins [][]step
	then    outcome
	dialed  []string
}

// httpDialogues has rows of the HTTP conformance table, by their ID.
var httpDialogues = []httpDialogue{
	{name: "H1", says: []turn{{connectRequest, established}}, then: relays, dialed: []string{"example.com:443"}},
	{name: "H1 HTTP/1.0", says: []turn{{"CONNECT example.com:443 HTTP/1.0\r\n\r\n", established}}, then: relays, dialed: []string{"example.com:443"}},

	{name: "H2 no port", says: []turn{{"CONNECT h HTTP/1.1\r\nHost: h\r\n\r\n", malformedRequest(noPort)}}},
	{name: "H2 empty port", says: []turn{{"CONNECT h: HTTP/1.1\r\nHost: h\r\n\r\n", malformedRequest(noPort)}}},
	{name: "H2 port 0", says: []turn{{"CONNECT h:0 HTTP/1.1\r\nHost: h\r\n\r\n", malformedRequest(noPort)}}},
	{name: "H2 port 70000", says: []turn{{"CONNECT h:70000 HTTP/1.1\r\nHost: h\r\n\r\n", malformedRequest(noPort)}}},
	{name: "H2 signed port", says: []turn{{"CONNECT h:+443 HTTP/1.1\r\nHost: h\r\n\r\n", malformedRequest(noPort)}}},
	{name: "H2 port with a zero before it", says: []turn{{"CONNECT h:0443 HTTP/1.1\r\nHost: h\r\n\r\n", malformedRequest(noPort)}}},
	{name: "H2 path", says: []turn{{"CONNECT h:443/ HTTP/1.1\r\nHost: h\r\n\r\n", malformedRequest(noPort)}}},
	{name: "H2 absolute form", says: []turn{{"CONNECT http://h:443/ HTTP/1.1\r\nHost: h\r\n\r\n", malformedRequest(noPort)}}},
	{name: "H2 userinfo", says: []turn{{"CONNECT ann:secret@h:443 HTTP/1.1\r\nHost: h\r\n\r\n", malformedRequest(badHost)}}},
	{name: "H2 length", says: []turn{{with(connectRequest, "Content-Length: 4\r\n") + "body", malformedRequest("body where there can be none")}}},
	{name: "H2 chunks", says: []turn{{with(connectRequest, "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n", malformedRequest("body where there can be none")}}},
	{name: "H2 length of 0, as WinINet sends it", says: []turn{{with(connectRequest, "Content-Length: 0\r\n"), established}}, then: relays, dialed: []string{"example.com:443"}},

	{name: "H3 IPv6", says: []turn{{"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n", established}}, then: relays, dialed: []string{"[2001:db8::1]:443"}},
	{name: "H3 mapped", says: []turn{{"CONNECT [::ffff:127.0.0.1]:443 HTTP/1.1\r\nHost: a\r\n\r\n", established}}, then: relays, dialed: []string{"127.0.0.1:443"}},
	{name: "H3 zone", says: []turn{{"CONNECT [fe80::1%25eth0]:443 HTTP/1.1\r\nHost: a\r\n\r\n", malformedRequest(badHost)}}},
	{name: "H3 bare", says: []turn{{"CONNECT 2001:db8::1:443 HTTP/1.1\r\nHost: a\r\n\r\n", malformedRequest(bareIPv6)}}},
	{name: "H3 bare without a port", says: []turn{{"CONNECT 2001:db8::1 HTTP/1.1\r\nHost: a\r\n\r\n", malformedRequest(bareIPv6)}}},
	{name: "H3 IPv4 in brackets", says: []turn{{"CONNECT [127.0.0.1]:443 HTTP/1.1\r\nHost: a\r\n\r\n", malformedRequest(noHost)}}},
	{name: "H3 open bracket", says: []turn{{"CONNECT [::1:443 HTTP/1.1\r\nHost: a\r\n\r\n", malformedRequest(noHost)}}},

	{name: "H4 absolute form", says: []turn{{getRequest, okResponse}, {getRequest, okResponse}}, origins: [][]step{getSteps, getSteps}, then: goesOn, dialed: []string{"example.com:80", "example.com:80"}},
	{name: "H4 origin form", says: []turn{{"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", refused(400, "http_request_error", usage, kept)}}, then: goesOn},
	{name: "H4 asterisk", says: []turn{{"GET * HTTP/1.1\r\nHost: a\r\n\r\n", malformedRequest(noURI)}}},
	{name: "H4 authority form", says: []turn{{"GET example.com:80 HTTP/1.1\r\nHost: a\r\n\r\n", malformedRequest(noURI)}}},
	{name: "H4 connect is no CONNECT", says: []turn{{"connect example.com:80 HTTP/1.1\r\nHost: a\r\n\r\n", malformedRequest(noURI)}}},
	{name: "H4 OPTIONS for us", says: []turn{{"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}}, then: goesOn},
	{
		name:    "H4 OPTIONS for an origin as a whole",
		says:    []turn{{"OPTIONS http://h:8080 HTTP/1.1\r\nHost: h:8080\r\n\r\n", okResponse}},
		origins: [][]step{{{"OPTIONS * HTTP/1.1\r\nHost: h:8080\r\nConnection: close\r\n\r\n", okResponse}}},
		then:    goesOn, dialed: []string{"h:8080"},
	},
	{
		name:    "H4 forms of the same target",
		says:    []turn{{"GET HTTP://[0:0::1]: HTTP/1.1\r\nHost:\r\n\r\n", okResponse}, {"GET http://127.0.0.1:81?b HTTP/1.1\r\nHost: a\r\n\r\n", okResponse}},
		origins: [][]step{{{"GET / HTTP/1.1\r\nHost: [0:0::1]\r\nConnection: close\r\n\r\n", okResponse}}, {{"GET /?b HTTP/1.1\r\nHost: 127.0.0.1:81\r\nConnection: close\r\n\r\n", okResponse}}},
		then:    goesOn, dialed: []string{"[::1]:80", "127.0.0.1:81"},
	},
	{
		name:    "H4 any method",
		says:    []turn{{"M-SEARCH http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", okResponse}},
		origins: [][]step{{{"M-SEARCH / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", okResponse}}},
		then:    goesOn, dialed: []string{"h:80"},
	},
	{name: "H4 empty line before", says: []turn{{"\r\n" + getRequest, okResponse}, {"\r\n" + getRequest, okResponse}}, origins: [][]step{getSteps, getSteps}, then: goesOn, dialed: []string{"example.com:80", "example.com:80"}},

	{name: "H5 another Host", says: []turn{{strings.Replace(getRequest, "Host: example.com", "Host: other.example:81", 1), okResponse}}, origins: [][]step{getSteps}, then: goesOn, dialed: []string{"example.com:80"}},
	{name: "H5 two Hosts", says: []turn{{with(getRequest, "Host: example.com\r\n"), malformedRequest(oneHost)}}},
	{name: "H5 no Host", says: []turn{{"GET http://h/ HTTP/1.1\r\n\r\n", malformedRequest(oneHost)}}},
	{name: "H5 malformed Host", says: []turn{{"GET http://h/ HTTP/1.1\r\nHost: a b\r\n\r\n", malformedRequest("Host field that is none")}}},

	{
		name: "H12", users: users, then: relays, dialed: []string{"example.com:443"},
		says: []turn{
			{getRequest, loginRefused(noName, kept)},
			{with(getRequest, "Proxy-Authorization: Bearer abc\r\n"), loginRefused(noName, kept)},
			{with(getRequest, "Proxy-Authorization: Basic !\r\n"), loginRefused(noName, kept)},
			{with(getRequest, "Proxy-Authorization: Basic YW5u\r\n"), loginRefused(noName, kept)}, // "ann", without a colon
			{with(getRequest, annSecret+annSecret), loginRefused(noName, kept)},
			{with(getRequest, "Proxy-Authorization: Basic YW5uOnNlY3JlVA==\r\n"), loginRefused(wrongLogin, kept)}, // secreT
			{with(connectRequest, annSecret), established},
		},
	},
	{name: "H12 right", users: users, says: []turn{{with(getRequest, strings.Replace(annSecret, "Basic", "BASIC", 1)), okResponse}}, origins: [][]step{getSteps}, then: goesOn, dialed: []string{"example.com:80"}},
	{
		name: "H12 NUL and UTF-8", users: users, then: goesOn, dialed: []string{"example.com:80"}, origins: [][]step{getSteps},
		says: []turn{{with(getRequest, "Proxy-Authorization: Basic AHpvw6s6cADDnw==\r\n"), okResponse}},
	},
	{name: "A8 name of an unknown tunnel", users: users, says: []turn{{with(getRequest, "Proxy-Authorization: Basic YW5uK25sOnNlY3JldA==\r\n"), loginRefused(wrongLogin, kept)}}, then: goesOn},
	{name: "H12 with a body", users: users, says: []turn{{"POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody", loginRefused(noName)}}},

	{name: "H14 HTTP/0.9", says: []turn{{"GET http://h/\r\n", malformedRequest(noLine)}}},
	{name: "H14 HTTP/1.0", says: []turn{{"GET http://example.com/a?b HTTP/1.0\r\n\r\n", closing(okResponse)}}, origins: [][]step{getSteps}, dialed: []string{"example.com:80"}},
	{name: "H14 HTTP/1.0 with keep-alive", says: []turn{{"GET http://example.com/a?b HTTP/1.0\r\nConnection: keep-alive\r\nProxy-Connection: keep-alive\r\n\r\n", closing(okResponse)}}, origins: [][]step{getSteps}, dialed: []string{"example.com:80"}},
	{name: "H14 HTTP/1.1 with close", says: []turn{{with(getRequest, "Connection: Close\r\n"), closing(okResponse)}}, origins: [][]step{getSteps}, dialed: []string{"example.com:80"}},
	{name: "H14 HTTP/2", says: []turn{{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", refused(505, "http_request_error", "only HTTP/1.1 and HTTP/1.0 are spoken here")}}},
	{name: "H14 no version", says: []turn{{"GET http://h/ HTTP/11\r\n\r\n", malformedRequest(noLine)}}},

	{name: "H20 https", says: []turn{{"GET https://h/ HTTP/1.1\r\nHost: h\r\n\r\n", malformedRequest(noHTTP)}}},
	{name: "H20 ftp", says: []turn{{"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", malformedRequest(noHTTP)}}},
	{name: "H20 file", says: []turn{{"GET file:///etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n", malformedRequest(noHTTP)}}},
	{name: "H20 no host", says: []turn{{"GET http:///etc HTTP/1.1\r\nHost: h\r\n\r\n", malformedRequest(noHost)}}},
	{name: "H20 line end in the host", says: []turn{{"GET http://h%0d%0aX:1/ HTTP/1.1\r\nHost: h\r\n\r\n", malformedRequest(badHost)}}},
	{name: "H20 line end in the path", says: []turn{{"GET http://h/%0d%0aX:1 HTTP/1.1\r\nHost: h\r\n\r\n", malformedRequest("path with a NUL or line end in it")}}},
	{name: "H20 half a percent code", says: []turn{{"GET http://h/%2 HTTP/1.1\r\nHost: h\r\n\r\n", malformedRequest("path with a percent sign that encodes nothing")}}},
	{
		name:    "H20 line end in a query, from a form",
		says:    []turn{{"GET http://example.com/a?b=1%0D%0A2 HTTP/1.1\r\nHost: example.com\r\n\r\n", okResponse}},
		origins: [][]step{{{strings.Replace(getAtFar, "?b", "?b=1%0D%0A2", 1), okResponse}}},
		then:    goesOn, dialed: []string{"example.com:80"},
	},
	{name: "H20 fragment", says: []turn{{"GET http://h/#a HTTP/1.1\r\nHost: h\r\n\r\n", malformedRequest(badByte)}}},
	{name: "H20 userinfo", says: []turn{{"GET http://ann@h/ HTTP/1.1\r\nHost: h\r\n\r\n", malformedRequest(badHost)}}},
}

// closing is a response after which the connection ends.
func closing(response string) string {
	return strings.Replace(response, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)
}

func TestHTTPDialogues(t *testing.T) {
	for _, d := range slices.Concat(httpDialogues, exchangeDialogues) {
		for _, mode := range modes {
			t.Run(fmt.Sprintf("%s/%s", d.name, mode.name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o := &origins{t: t, scripts: d.origins}
					if d.then == relays {
						o.scripts = [][]step{{{"ping", "pong"}}}
					}
					s := serve(t, Config{Users: d.users, Dial: o.dial})
					defer s.end(t)
					c := s.connect()
					defer c.Close()

					mode.run(t, c, d.says)
					switch d.then {
					case closes:
						expectEnd(t, c, time.Second)
					case relays:
						send(c, "ping")
						expect(t, c, "pong")
						_ = c.CloseWrite()
						expectEnd(t, c, time.Second)
					case goesOn: // and when it has nothing more to say, that is the end
						_ = c.CloseWrite()
						expectEnd(t, c, time.Second)
					}
					o.check(d.dialed)
				})
			})
		}
	}
}
