// Package proxy asks a client "where do you want to go?" and carries it there. On one port it speaks SOCKS5 (RFC 1928, RFC
// 1929) with CONNECT, and HTTP/1.1 (RFC 9110, RFC 9112) with CONNECT and with requests in absolute form.
//
// It knows its protocols and a function that dials. It resolves no name and opens no socket: names reach that function as
// they came, connections come from the caller's listener. BIND and UDP ASSOCIATE are refused, and so is every HTTP message
// that could be read in two ways. HTTP adds no Via, for privacy (RFC 9110, section 7.6.3, would have one).
//
// Start at [New] and [Server.Serve]. The way of a connection: accept, negotiate (of SOCKS5, go-socks5 does the parsing,
// and nothing else), dial, reply, relay (package forward does this). An HTTP request in absolute form has an exchange in place
// of reply and relay, and then the client may send another.
package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/wimble-proxy/wimble/forward"
)

// Dial connects to a target for a client. The network is "tcp". The address is host:port with a port from 1 to 65535;
// the host is an IP address as net/netip writes it, without a zone and never IPv4-mapped, or else the name that the
// client sent: 1 to 255 bytes without spaces, control characters and the characters :/\[]@%. The host's resolver must
// not see a name. The context has a deadline, and ends when the client leaves.
//
// The error chooses the reply of SOCKS5 (RFC 1928, section 6) and the status of HTTP, by errors.Is and errors.As:
//
//	02  403  fs.ErrPermission, so EACCES and EPERM: a rule forbids it
//	03  502  ENETUNREACH: no route goes there
//	03  503  ENETDOWN: the tunnel is down
//	04  503  EHOSTUNREACH, EHOSTDOWN
//	04  502  *net.DNSError: the name has no address, or nobody can be asked for it; 504 if its IsTimeout says so
//	05  502  ECONNREFUSED, ECONNRESET
//	06  504  ETIMEDOUT, context.DeadlineExceeded, os.ErrDeadlineExceeded
//	01  503  EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS
//	01  500  all others
type Dial = func(ctx context.Context, network, address string) (net.Conn, error)

// Config says how to serve. Only Dial is required.
type Config struct {
	Dial Dial

	// Protocols are what clients may speak; nil means all that there are.
	Protocols []Protocol

	// Users are those who may use the proxy; if there are any, clients must log in (RFC 1929, RFC 7617). An address that
	// had 5 wrong logins can try one every 10 seconds.
	Users Users

	// AllowClients are the networks that clients must come from, or else they are closed when they are accepted.
	AllowClients forward.Clients

	// HandshakeTimeout is the time from accept to the end of the request; of a later HTTP request, from its first byte to
	// the end of its header section. 0 means 10 seconds.
	HandshakeTimeout time.Duration
	// DialTimeout is the time that Dial gets. 0 means 30 seconds.
	DialTimeout time.Duration
	// IdleTimeout is how long an HTTP client may be silent between two requests or in the body of one, how long it may take
	// to read what it was sent, and how long it gets a response after it has ended its stream. 0 means 60 seconds.
	IdleTimeout time.Duration
	// ResponseTimeout is how long the origin of an HTTP request may be silent before its response and in it. 0 means 15
	// minutes.
	ResponseTimeout time.Duration
	// GraceTimeout is how long connections may go on after Serve was told to end. 0 means 30 seconds, negative not at all.
	GraceTimeout time.Duration

	// MaxConns limits the clients that are connected to a target or about to be. Those beyond are refused, with reply 01 or
	// status 503. 0 means 16384.
	MaxConns int
	// MaxHandshakes limits the clients whose request is not complete, those between two requests included. When one more
	// comes, the oldest has to go: it is the likeliest never to finish. 0 means 1024.
	MaxHandshakes int

	// Relay carries the data. nil means one of this Server's own, with the default limits.
	Relay *forward.Relay

	// Logger gets a debug line for each connection, and says what goes wrong with a listener; nil discards. Targets and
	// client addresses are in debug lines only.
	Logger *slog.Logger
}

// Protocol is what the client of a proxy speaks.
type Protocol string

// The protocols, which are told apart by a client's first byte.
const (
	SOCKS5 Protocol = "socks5"
	HTTP   Protocol = "http"
)

// Server serves any number of listeners; its limits hold for all of them together. Its methods may be called
// concurrently.
type Server struct {
	cfg    Config  // complete, but for Users
	logins *logins // nil if there is no login
	gate   gate
	stats  counters
	// readers are *bufio.Reader of clients that have ended or are in their relay.
	readers sync.Pool

	acceptor forward.Acceptor
}

// New returns a Server, or an error that says which field of cfg is wrong.
func New(cfg Config) (*Server, error) {
	if cfg.Dial == nil {
		return nil, errors.New("proxy: no Dial function")
	}
	if len(cfg.Protocols) == 0 {
		cfg.Protocols = []Protocol{SOCKS5, HTTP}
	}
	for _, p := range cfg.Protocols {
		if p != SOCKS5 && p != HTTP {
			return nil, fmt.Errorf("proxy: protocol %q: there are %q and %q", p, SOCKS5, HTTP)
		}
	}
	for _, p := range cfg.AllowClients {
		if !p.IsValid() || p.Addr().Is4In6() {
			return nil, fmt.Errorf("proxy: allowed clients: %v is no network of IPv4 or IPv6", p)
		}
	}
	logins, err := newLogins(cfg.Users, slices.Contains(cfg.Protocols, HTTP))
	if err != nil {
		return nil, err
	}
	cfg.Users = nil // logins has what it needs
	cfg.HandshakeTimeout = cmp.Or(cfg.HandshakeTimeout, 10*time.Second)
	cfg.DialTimeout = cmp.Or(cfg.DialTimeout, 30*time.Second)
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, time.Minute)
	cfg.ResponseTimeout = cmp.Or(cfg.ResponseTimeout, 15*time.Minute)
	cfg.MaxConns = cmp.Or(cfg.MaxConns, 16384)
	cfg.MaxHandshakes = cmp.Or(cfg.MaxHandshakes, 1024)
	cfg.Relay = cmp.Or(cfg.Relay, new(forward.Relay))
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	return &Server{
		cfg:    cfg,
		logins: logins,
		gate:   gate{maxHandshakes: cfg.MaxHandshakes, maxConns: cfg.MaxConns},

		acceptor: forward.Acceptor{GraceTimeout: cfg.GraceTimeout, Logger: cfg.Logger},
	}, nil
}
