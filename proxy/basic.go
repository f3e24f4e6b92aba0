package proxy

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/wimble-proxy/wimble/forward"
)

// checkLogin returns the refusal for a client that has to log in to have its request served (RFC 7617; RFC 9110, section
// 11.7), or nil.
func (s *Server) checkLogin(c *client, r *request) *refusal {
	if s.logins == nil {
		return nil
	}
	name, password, ok := basicLogin(r)
	if !ok {
		return loginRefusal("this proxy wants a name and a password")
	}
	switch s.logins.judge(forward.Source(c), name, password) {
	case errLogin:
		s.stats.badLogins.Add(1)
		return loginRefusal("the name or the password is wrong")
	case errTooMany:
		s.stats.throttled.Add(1)
		f := newRefusal(http.StatusTooManyRequests, "", "there were too many wrong logins from this address")
		f.fields = fields{{"Retry-After", strconv.Itoa(int(strikeTime / time.Second))}}
		return f
	}
	return nil
}

func loginRefusal(text string) *refusal {
	f := newRefusal(http.StatusProxyAuthRequired, "", text)
	f.fields = fields{{"Proxy-Authenticate", `Basic realm="wimble", charset="UTF-8"`}}
	return f
}

// basicLogin returns name and password of a request, if it has them, once and in the Basic scheme.
func basicLogin(r *request) (name, password []byte, ok bool) {
	value, count := r.fields.single("Proxy-Authorization")
	scheme, token, _ := strings.Cut(value, " ")
	if count != 1 || !strings.EqualFold(scheme, "Basic") {
		return nil, nil, false
	}
	pair, err := base64.StdEncoding.Strict().DecodeString(trimSpace(token))
	if err != nil {
		return nil, nil, false
	}
	return bytes.Cut(pair, []byte(":"))
}
