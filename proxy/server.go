// Package proxy asks a client "where do you want to go?" and carries it there: SOCKS5 (RFC 1928, RFC 1929), CONNECT.
//
// It knows its protocol and a function that dials. It resolves no name and opens no socket: names reach that function as
// they came, connections come from the caller's listener. BIND and UDP ASSOCIATE are refused.
//
// Start at [New] and [Server.Serve]. The way of a connection: accept, negotiate (go-socks5 does this, and nothing else),
// dial, reply, relay (package forward does this).
package proxy

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/things-go/go-socks5"

	"github.com/wimble-proxy/wimble/forward"
)

// Dial connects to a target for a client. The network is "tcp". The address is host:port with a port from 1 to 65535;
// the host is an IP address as net/netip writes it, without a zone and never IPv4-mapped, or else the name that the
// client sent: 1 to 255 bytes without spaces, control characters and the characters :/\[]@%. The host's resolver must
// not see a name. The context has a deadline, and ends when the client leaves.
//
// The error chooses the reply (RFC 1928, section 6), by errors.Is and errors.As:
//
//	02  fs.ErrPermission, so EACCES and EPERM: a rule forbids it
//	03  ENETUNREACH, ENETDOWN: no route goes there
//	04  EHOSTUNREACH, EHOSTDOWN, and every *net.DNSError: the name has no address, or nobody can be asked for it
//	05  ECONNREFUSED, ECONNRESET
//	06  ETIMEDOUT, context.DeadlineExceeded, os.ErrDeadlineExceeded
//	01  all others
type Dial = func(ctx context.Context, network, address string) (net.Conn, error)

// Config says how to serve. Only Dial is required.
type Config struct {
	Dial Dial

	// Users maps names to passwords, each of 1 to 255 bytes; if there are any, clients must log in (RFC 1929). Only hashes
	// are kept.
	Users map[string]string

	// HandshakeTimeout is the time from accept to the end of the request. 0 means 10 seconds.
	HandshakeTimeout time.Duration
	// DialTimeout is the time that Dial gets. 0 means 30 seconds.
	DialTimeout time.Duration
	// GraceTimeout is how long connections may go on after Serve was told to end. 0 means 30 seconds, negative not at all.
	GraceTimeout time.Duration

	// MaxConns limits the clients that are connected to a target or about to be. Those beyond are refused with reply 01.
	// 0 means 4096.
	MaxConns int
	// MaxHandshakes limits the clients whose request is not complete. When one more comes, the oldest has to go: it is the
	// likeliest never to finish. 0 means 1024.
	MaxHandshakes int

	// Relay carries the data. nil means one of this Server's own, with the default limits.
	Relay *forward.Relay

	// Logger gets a debug line for each connection, and says what goes wrong with a listener; nil discards. Targets and
	// client addresses are in debug lines only.
	Logger *slog.Logger
}

// Server serves any number of listeners; its limits hold for all of them together. Its methods may be called
// concurrently.
type Server struct {
	cfg   Config         // complete, but for Users
	socks *socks5.Server // a parser; see newNegotiator
	gate  gate
	stats counters
}

// New returns a Server, or an error that says which field of cfg is wrong.
func New(cfg Config) (*Server, error) {
	if cfg.Dial == nil {
		return nil, errors.New("proxy: no Dial function")
	}
	auth, err := newAuthenticator(cfg.Users)
	if err != nil {
		return nil, err
	}
	cfg.Users = nil // from here on there are only hashes
	cfg.HandshakeTimeout = cmp.Or(cfg.HandshakeTimeout, 10*time.Second)
	cfg.DialTimeout = cmp.Or(cfg.DialTimeout, 30*time.Second)
	cfg.GraceTimeout = cmp.Or(cfg.GraceTimeout, 30*time.Second)
	cfg.MaxConns = cmp.Or(cfg.MaxConns, 4096)
	cfg.MaxHandshakes = cmp.Or(cfg.MaxHandshakes, 1024)
	cfg.Relay = cmp.Or(cfg.Relay, new(forward.Relay))
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	return &Server{
		cfg:   cfg,
		socks: newNegotiator(auth),
		gate:  gate{maxHandshakes: cfg.MaxHandshakes, maxConns: cfg.MaxConns},
	}, nil
}
