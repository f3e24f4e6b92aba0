package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/things-go/go-socks5/statute"
)

// openSOCKS negotiates, dials and replies. It returns nil if the client gets no target.
func (s *Server) openSOCKS(ctx context.Context, c *client) net.Conn {
	request := s.negotiate(c)
	if request == nil {
		return nil
	}
	if request.Command != statute.CommandConnect {
		s.refuseSOCKS(c, statute.RepCommandNotSupported, errors.New("only CONNECT is served"))
		return nil
	}
	var err error
	if c.target, err = destination(&request.DstAddr); err != nil {
		s.refuseSOCKS(c, statute.RepServerFailure, err)
		return nil
	}
	if !s.gate.admit(c) {
		s.refuseSOCKS(c, statute.RepServerFailure, errors.New("too many connections"))
		return nil
	}
	target, err := s.dial(ctx, c)
	switch {
	case err == errLeft:
		s.abandoned(c)
		return nil
	case err != nil:
		s.refuseSOCKS(c, replyTo(err), err)
		return nil
	}
	if err := s.reply(c, statute.RepSuccess, target.LocalAddr()); err != nil {
		s.cfg.Logger.Debug("proxy: no reply", "client", c.RemoteAddr(), "target", c.target, "error", err)
		_ = target.Close()
		return nil
	}
	return target
}

// refuseSOCKS replies with a failure and makes sure that the client can see it.
func (s *Server) refuseSOCKS(c *client, code byte, reason error) {
	s.cfg.Logger.Debug("proxy: refused", "client", c.RemoteAddr(), "target", c.target, "reply", code, "reason", reason)
	if s.reply(c, code, nil) == nil {
		c.linger()
	}
}

// reply sends a reply; bound is our end of the connection to the target, if there is one.
func (s *Server) reply(c *client, code byte, bound net.Addr) error {
	s.stats.replies[code].Add(1)
	_ = c.SetWriteDeadline(time.Now().Add(s.cfg.HandshakeTimeout))
	_, err := c.Write(encodeReply(code, bound))
	return err
}

// destination returns the address to dial as Dial describes it, or what is wrong with the request's.
func destination(a *statute.AddrSpec) (string, error) {
	if a.Port == 0 {
		return "", errors.New("port 0")
	}
	port := strconv.Itoa(a.Port)
	if a.AddrType != statute.ATYPDomain {
		ip, _ := netip.AddrFromSlice(a.IP) // the parser takes 4 or 16 bytes
		return net.JoinHostPort(ip.Unmap().String(), port), nil
	}
	host, err := hostOf(a.FQDN)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(host, port), nil
}

// hostOf checks a name. One that is the text of an address becomes that address, so that it can't pass by the rules for
// addresses; only the strict forms are taken for one: "127.1" and "0x7f000001" are names, which nobody has.
func hostOf(name string) (string, error) {
	literal := name
	if len(name) > 2 && name[0] == '[' && name[len(name)-1] == ']' && strings.Contains(name, ":") {
		literal = name[1 : len(name)-1]
	}
	if ip, err := netip.ParseAddr(literal); err == nil && ip.Zone() == "" {
		return ip.Unmap().String(), nil
	}
	if name == "" {
		return "", errors.New("empty name")
	}
	for _, b := range []byte(name) {
		if b <= ' ' || b == 0x7f || strings.IndexByte(`:/\[]@%`, b) >= 0 {
			return "", fmt.Errorf("name with byte %#02x", b)
		}
	}
	return name, nil
}
