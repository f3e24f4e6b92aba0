package proxy

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"

	"github.com/wimble-proxy/wimble/forward"
)

// pacPath is where programs on this host get the address of this proxy from.
const pacPath = "/proxy.pac"

// usage is for people who come here with a browser, as if this were a web site.
const usage = "this port is a proxy for SOCKS5 and HTTP, and no web site: set it as the proxy of your program, as in " +
	"'curl -x http://ADDRESS:PORT http://example.com/', or " + pacPath + " on it as the proxy configuration of your browser"

// answerOrigin answers a request that is meant for us, and reports whether the client may ask again.
func (s *Server) answerOrigin(c *client, r *request) (again bool) {
	switch {
	case r.target.path != pacPath:
		return s.refuseHTTP(c, r, newRefusal(http.StatusBadRequest, "http_request_error", usage))
	case !isLocal(c, r):
		return s.refuseHTTP(c, r, newRefusal(http.StatusForbidden, "http_request_denied", pacPath+" is for programs on this host"))
	case r.method != http.MethodGet && r.method != http.MethodHead:
		f := newRefusal(http.StatusMethodNotAllowed, "http_request_error", pacPath+" can only be read")
		f.fields = fields{{"Allow", "GET, HEAD"}}
		return s.refuseHTTP(c, r, f)
	}
	return s.answer(c, r, http.StatusOK, fields{
		{"Content-Type", "application/x-ns-proxy-autoconfig"},
		{"X-Content-Type-Options", "nosniff"},
		{"Cross-Origin-Resource-Policy", "same-origin"},
		{"Cache-Control", "no-store"},
	}, pac(c.LocalAddr()))
}

// isLocal reports whether a client on this host asks for this host: a page from elsewhere that has its own name point here
// asks for that name.
func isLocal(c *client, r *request) bool {
	host, _ := r.fields.single("Host")
	address, err := parseAuthority(host, "80")
	if err != nil {
		return false
	}
	name, _, _ := net.SplitHostPort(address) // can't fail: parseAuthority has made it
	ip, err := netip.ParseAddr(name)
	return forward.Source(c).IsLoopback() && (name == "localhost" || err == nil && ip.IsLoopback())
}

// pac is a proxy auto-configuration file for this listener. It has no second choice: a program that can't reach the
// tunnel must not go round it. It has no SOCKS either, as some programs would resolve the names themselves for that.
func pac(listener net.Addr) string {
	return fmt.Sprintf("function FindProxyForURL(url, host) {\n  return \"PROXY %s\";\n}\n", listener)
}
