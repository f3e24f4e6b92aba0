package proxy

import (
	"strings"
)

const (
	head     = "GET http://h/ HTTP/1.1\r\nHost: h\r\n"
	atFar    = "GET / HTTP/1.1\r\nHost: h\r\n"
	closeEnd = "Connection: close\r\n\r\n"
	badFar   = "the origin's response is malformed"

	upgrade    = head + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n\r\n"
	upgradeFar = atFar + "Sec-WebSocket-Key: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)

// reply is an exchange of a plain request with an origin that says something. If the connection goes on, another follows.
func reply(name, says, hears string, then outcome) httpDialogue {
	d := httpDialogue{name: name, says: []turn{{getRequest, hears}}, origins: [][]step{{{getAtFar, says}}}, then: then, dialed: []string{"example.com:80"}}
	if then == goesOn {
		d.says = append(d.says, turn{getRequest, okResponse})
		d.origins = append(d.origins, getSteps)
		d.dialed = append(d.dialed, "example.com:80")
	}
	return d
}

// badReply is one that the client must not see.
func badReply(name, says string) httpDialogue {
	return reply(name, says, refused(502, "http_protocol_error", badFar, kept), goesOn)
}

// exchangeDialogues has rows of the HTTP conformance table about what passes between client and origin.
var exchangeDialogues = []httpDialogue{
	{
		name: "H6 request",
		says: []turn{{head + "Connection: keep-alive, X-One\r\nX-One: 1\r\nx-two: 2\r\nX-Two: 3\r\nConnection: x-two , ,\r\nKeep-Alive: timeout=5\r\n" +
			"Proxy-Connection: keep-alive\r\n" + annSecret + "Proxy-Authenticate: Basic\r\nTE: trailers\r\nTrailer: X-Three\r\nUpgrade: websocket\r\n" +
			"HTTP2-Settings: a\r\nX-Three: kept\r\nAccept:\t a \r\nEmpty:\r\n\r\n", okResponse}},
		origins: [][]step{{{atFar + "X-Three: kept\r\nAccept: a\r\nEmpty: \r\n" + closeEnd, okResponse}}},
		then:    goesOn, dialed: []string{"h:80"},
	},
	reply("H6 response", "HTTP/1.1 200 OK\r\nConnection: close, X-One\r\nX-One: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n"+
		"Proxy-Connection: close\r\nProxy-Authentication-Info: a\r\nTrailer: X-Two\r\nUpgrade: h2c\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n"+
		"Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", goesOn),
	{
		name: "H7",
		says: []turn{{"POST http://h/ HTTP/1.1\r\nHost: h\r\nConnection: host, content-length, authorization, cookie\r\nAuthorization: Basic a\r\nCookie: a\r\n" +
			"Content-Length: 2\r\n\r\nhi", okResponse}},
		origins: [][]step{{{"POST / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic a\r\nCookie: a\r\nContent-Length: 2\r\n" + closeEnd + "hi", okResponse}}},
		then:    goesOn, dialed: []string{"h:80"},
	},
	// What follows a request to upgrade is another request until the origin has agreed: it must not hear it before.
	{
		name: "H9", says: []turn{{upgrade, okResponse}, {getRequest, okResponse}},
		origins: [][]step{{{upgradeFar, okResponse}}, getSteps}, then: goesOn, dialed: []string{"h:80", "example.com:80"},
	},
	{
		name: "H9 not asked for", says: []turn{{getRequest, refused(502, "http_upgrade_failed", "the origin switched to a protocol that was not offered", kept)}},
		origins: [][]step{{{getAtFar, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"}}},
		then:    goesOn, dialed: []string{"example.com:80"},
	},
	{
		name: "H9 to another protocol", says: []turn{{upgrade, refused(502, "http_upgrade_failed", "the origin switched to a protocol that was not offered", kept)}},
		origins: [][]step{{{upgradeFar, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: irc\r\n\r\n"}}},
		then:    goesOn, dialed: []string{"h:80"},
	},
	{
		name: "H9 to no protocol", says: []turn{{upgrade, refused(502, "http_upgrade_failed", "the origin switched to no protocol", kept)}},
		origins: [][]step{{{upgradeFar, "HTTP/1.1 101 Switching Protocols\r\n\r\n"}}},
		then:    goesOn, dialed: []string{"h:80"},
	},
	{
		name: "H9 h2c is for one connection", says: []turn{{head + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\n\r\n", okResponse}},
		origins: [][]step{{{atFar + closeEnd, okResponse}}}, then: goesOn, dialed: []string{"h:80"},
	},
	{
		name: "H9 with a body", says: []turn{{post("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n", "hi"), okResponse}},
		origins: [][]step{{{"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 2\r\n" + closeEnd + "hi", okResponse}}}, then: goesOn, dialed: []string{"example.com:80"},
	},
	{
		name: "H9 without Connection", says: []turn{{head + "Upgrade: websocket\r\n\r\n", okResponse}},
		origins: [][]step{{{atFar + closeEnd, okResponse}}}, then: goesOn, dialed: []string{"h:80"},
	},

	{
		name: "H13 unknown", says: []turn{{post("Expect: 200-ok\r\nContent-Length: 2\r\n", ""), refused(417, "http_request_error", "only 100-continue can be expected")}},
	},
	{
		name: "H13 HTTP/1.0", says: []turn{{"POST http://h/ HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", closing(okResponse)}},
		origins: [][]step{{{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n" + closeEnd + "hi", "HTTP/1.1 100 Continue\r\n\r\n" + okResponse}}},
		dialed:  []string{"h:80"},
	},

	{
		name: "H18 lengths", says: []turn{{post("Content-Length: 0\r\n", ""), okResponse}, {post("Content-Length: 0002\r\n", "hi"), okResponse}},
		origins: [][]step{
			{{"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\n" + closeEnd, okResponse}},
			{{"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 2\r\n" + closeEnd + "hi", okResponse}},
		},
		then: goesOn, dialed: []string{"example.com:80", "example.com:80"},
	},
	reply("H18 chunks and trailers of a response",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=\"b\"\r\nhi\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a\r\nConnection: close\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n", goesOn),
	reply("H18 gzip",
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x00\xff",
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x00\xff", goesOn),
	reply("H18 interim responses",
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 5\r\nConnection: close\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"+okResponse,
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"+okResponse, goesOn),
	reply("H18 204", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nA: b\r\n\r\n", "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n", goesOn),
	reply("H18 304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: a\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nETag: a\r\nContent-Length: 5\r\n\r\n", goesOn),
	reply("H18 close-delimited", "HTTP/1.0 200 OK\r\n\r\nhello", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", goesOn),
	reply("H18 status line without reason", "HTTP/1.1 599\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n", goesOn),
	reply("H18 reason in UTF-8", "HTTP/1.1 200 Schön\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 Schön\r\nContent-Length: 0\r\n\r\n", goesOn),
	{
		name: "H18 HEAD", says: []turn{{strings.Replace(getRequest, "GET", "HEAD", 1), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"}, {getRequest, okResponse}},
		origins: [][]step{{{strings.Replace(getAtFar, "GET", "HEAD", 1), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"}}, getSteps},
		then:    goesOn, dialed: []string{"example.com:80", "example.com:80"},
	},
	{
		name: "H18 HEAD of a refusal", says: []turn{{"HEAD http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", withoutBody(refused(502, "http_protocol_error", badFar, kept))}},
		origins: [][]step{{{"HEAD / HTTP/1.1\r\nHost: h\r\n" + closeEnd, "rubbish\r\n"}}}, then: goesOn, dialed: []string{"h:80"},
	},
	{
		name: "H18 chunks for HTTP/1.0", says: []turn{{"GET http://example.com/a?b HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"}},
		origins: [][]step{{{getAtFar, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: a\r\n\r\n"}}},
		dialed:  []string{"example.com:80"},
	},
	{
		name: "TRACE, further", says: []turn{{"TRACE http://h/ HTTP/1.1\r\nHost: h\r\nMax-Forwards: 10\r\n\r\n", okResponse}},
		origins: [][]step{{{"TRACE / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 9\r\n" + closeEnd, okResponse}}}, then: goesOn, dialed: []string{"h:80"},
	},
	{
		name: "TRACE, to us", then: goesOn,
		says: []turn{{
			"TRACE http://h HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\nCookie: a\r\nAuthorization: b\r\n" + annSecret + "X: c\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Type: message/http\r\nContent-Length: 60\r\n\r\nTRACE http://h/ HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\nX: c\r\n\r\n",
		}},
	},
	{name: "TRACE with a body", says: []turn{{"TRACE http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", malformedRequest("body where there can be none")}}},
	{
		name: "OPTIONS, to us", says: []turn{{"OPTIONS http://h/ HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}}, then: goesOn,
	},
	{
		name: "OPTIONS, very far", says: []turn{{"OPTIONS http://h/ HTTP/1.1\r\nHost: h\r\nMax-Forwards: 99999999999\r\n\r\n", okResponse}},
		origins: [][]step{{{"OPTIONS / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 4294967294\r\n" + closeEnd, okResponse}}}, then: goesOn, dialed: []string{"h:80"},
	},
	{
		name: "Max-Forwards that is no number",
		says: []turn{{"OPTIONS http://h/ HTTP/1.1\r\nHost: h\r\nMax-Forwards: -1\r\n\r\n", malformedRequest("Max-Forwards field that is no number")}},
	},
	{
		name: "Max-Forwards of GET", says: []turn{{head + "Max-Forwards: 0\r\n\r\n", okResponse}},
		origins: [][]step{{{atFar + "Max-Forwards: 0\r\n" + closeEnd, okResponse}}}, then: goesOn, dialed: []string{"h:80"},
	},

	reply("H21 origin ends the connection", "", refused(502, "http_response_incomplete", "the origin ended the connection without a response", kept), goesOn),
	{
		name: "H21 of a POST", says: []turn{{post("Content-Length: 2\r\n", "hi"), refused(502, "http_response_incomplete", "the origin ended the connection without a response")}},
		origins: [][]step{{{"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 2\r\n" + closeEnd + "hi", ""}}}, dialed: []string{"example.com:80"},
	},
	reply("H21 origin ends in the head", "HTTP/1.1 200 OK\r\nA: b\r\n", refused(502, "http_response_incomplete", "the origin ended the connection without a response", kept), goesOn),
	reply("H21 origin ends in an interim response", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200",
		"HTTP/1.1 103 Early Hints\r\n\r\n"+refused(502, "http_response_incomplete", "the origin ended the connection without a response", kept), goesOn),
	reply("H21 origin ends in the body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", closes),
	reply("H21 origin ends in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhi", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", closes),

	// What an origin says is read as strictly as what a client says, or the next one to read it may see two responses.
	badReply("response with length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
	badReply("response with two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi"),
	badReply("response with length +2", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi"),
	badReply("response with another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
	badReply("response with chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
	badReply("response with a folded line", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nhi"),
	badReply("response with bare LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi"),
	badReply("response with a bare CR in a field", "HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: c\r\nContent-Length: 2\r\n\r\nhi"),
	badReply("response with space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nhi"),
	badReply("response with a control character in the reason", "HTTP/1.1 200 O\x00K\r\nContent-Length: 2\r\n\r\nhi"),
	badReply("response of HTTP/2", "HTTP/2.0 200 OK\r\n\r\n"),
	badReply("response of HTTP/0.9", "<html>\r\n"),
	badReply("response with status 099", "HTTP/1.1 099 OK\r\n\r\n"),
	badReply("response with status 20", "HTTP/1.1 20 OK\r\n\r\n"),
	badReply("response with status +20", "HTTP/1.1 +20 OK\r\n\r\n"),
	reply("response with bad chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0x\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", closes),
}

// withoutBody cuts a response off behind its head.
func withoutBody(response string) string {
	head, _, _ := strings.Cut(response, "\r\n\r\n")
	return head + "\r\n\r\n"
}
