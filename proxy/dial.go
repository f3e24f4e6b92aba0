package proxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
)

var (
	// errLeft is the cause of a dial's end when its client is gone.
	errLeft = errors.New("the client left")
	// errLoop is for a target that is this proxy.
	errLoop = fmt.Errorf("the target is this proxy: %w", fs.ErrPermission)
)

// dial dials the client's target. It gives up when the time is over, and with errLeft when the client leaves. Where the
// target is the listener that the client came by, the error is errLoop.
func (s *Server) dial(ctx context.Context, c *client) (net.Conn, error) {
	if isSelf(c.LocalAddr(), c.target) {
		return nil, errLoop
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timed, stop := context.WithTimeout(ctx, s.cfg.DialTimeout)
	defer stop()

	target, err := s.dialWatched(timed, c, func() { cancel(errLeft) })
	if context.Cause(ctx) == errLeft {
		err = errLeft
	} else if err == nil && isSelf(c.LocalAddr(), target.RemoteAddr().String()) { // by a name
		err = errLoop
	}
	if err != nil && target != nil {
		_ = target.Close()
	}
	if err != nil {
		return nil, err
	}
	return target, nil
}

// dialWatched dials, and calls left as soon as the client leaves.
func (s *Server) dialWatched(ctx context.Context, c *client, left func()) (target net.Conn, err error) {
	defer func() {
		if v := recover(); v != nil {
			if target != nil { // it is the client's connection that panics
				_ = target.Close()
			}
			panic(v)
		}
	}()
	defer c.watch(left)()
	return s.cfg.Dial(ctx, "tcp", c.target)
}

// isSelf reports whether an address is that of a listener. Behind a loopback listener all loopback addresses are one.
func isSelf(listener net.Addr, address string) bool {
	tcp, ok := listener.(*net.TCPAddr)
	if !ok {
		return false
	}
	own := tcp.AddrPort().Addr().Unmap().WithZone("")
	host, port, err := net.SplitHostPort(address)
	if err != nil || port != strconv.Itoa(tcp.Port) {
		return false
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host == "localhost" && own.IsLoopback()
	}
	ip = ip.Unmap().WithZone("")
	return ip == own || own.IsLoopback() && (ip.IsLoopback() || ip.IsUnspecified())
}

// abandoned notes that a client left during the dial.
func (s *Server) abandoned(c *client) {
	s.stats.abandoned.Add(1)
	s.cfg.Logger.Debug("proxy: the client left during the dial", "client", c.RemoteAddr(), "target", c.target)
}
