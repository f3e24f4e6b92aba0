package wireguard

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wimble-proxy/wimble/wireguard/engine"
)

// socketBuffer is asked of the kernel in both directions. It caps this at
// net.core.rmem_max and wmem_max; a burst of 64 KiB overflows a small one.
const socketBuffer = 7 << 20

// Room for the control messages of one datagram: the source address and the
// segment size.
var controlSize = unix.CmsgSpace(unix.SizeofInet6Pktinfo) + unix.CmsgSpace(4)

// msgConn is what *net.UDPConn has beyond PacketConn.
type msgConn interface {
	PacketConn
	syscall.Conn
	WriteMsgUDPAddrPort(b, oob []byte, addr netip.AddrPort) (n, oobn int, err error)
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
}

var _ msgConn = (*net.UDPConn)(nil)

// platform sends a whole batch in one system call (UDP_SEGMENT), receives
// trains of datagrams (UDP_GRO) and several of them in one, and answers from
// the address that it was spoken to at (IP_PKTINFO).
type platform struct {
	msg      msgConn // nil for a PacketConn that is no socket of the system
	inbox    *inbox  // nil with it
	outbox   *outbox // nil unless the PacketConn is package net's own
	is6      bool
	segment  bool
	plain    plainEndpoints
	controls sync.Pool // of *[]byte, for send
}

// setup switches on what the kernel has. What it lacks is done without.
func (s *socket) setup(log *slog.Logger) {
	msg, ok := s.conn.(msgConn)
	if !ok {
		return
	}
	raw, err := msg.SyscallConn()
	if err != nil {
		return
	}
	s.msg = msg
	s.inbox = newInbox(raw)
	s.controls.New = func() any { b := make([]byte, controlSize); return &b }
	buffers := errors.Join(msg.SetReadBuffer(socketBuffer), msg.SetWriteBuffer(socketBuffer))
	var coalesce bool
	err = raw.Control(func(fd uintptr) {
		sock := int(fd)
		domain, _ := unix.GetsockoptInt(sock, unix.SOL_SOCKET, unix.SO_DOMAIN)
		s.is6 = domain == unix.AF_INET6
		if s.is6 {
			_ = unix.SetsockoptInt(sock, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
			_ = unix.SetsockoptInt(sock, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT)
		} else {
			_ = unix.SetsockoptInt(sock, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
			// Like the kernel's WireGuard: what is too large for the path is
			// fragmented, not lost.
			_ = unix.SetsockoptInt(sock, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
		}
		_, noSegment := unix.GetsockoptInt(sock, unix.IPPROTO_UDP, unix.UDP_SEGMENT)
		s.segment = noSegment == nil
		coalesce = coalescingWorks() && unix.SetsockoptInt(sock, unix.IPPROTO_UDP, unix.UDP_GRO, 1) == nil
	})
	if _, own := s.conn.(*net.UDPConn); own { // another may have a way to send of its own
		s.outbox = newOutbox(raw, s.is6)
	}
	log.Debug("udp socket", "address", s.conn.LocalAddr().String(), "segment", s.segment, "coalesce", coalesce,
		"error", errors.Join(buffers, err))
}

// coalescingWorks reports whether the kernel is at least 5.12: before, it could
// pass on trains of datagrams with a wrong checksum.
func coalescingWorks() bool {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return false
	}
	major, minor, field := 0, 0, 0
	for _, c := range name.Release {
		switch {
		case c >= '0' && c <= '9' && field == 0:
			major = major*10 + int(c-'0')
		case c >= '0' && c <= '9':
			minor = minor*10 + int(c-'0')
		case c == '.' && field == 0:
			field++
		default:
			return major > 5 || major == 5 && minor >= 12
		}
	}
	return major > 5 || major == 5 && minor >= 12
}

// send sends datagrams of stride bytes each, of which the last may be shorter,
// from the endpoint's source if it has one.
func (s *socket) send(datagrams []byte, stride int, to engine.Endpoint) error {
	if s.msg == nil {
		return s.sendSingly(datagrams, stride, to)
	}
	if len(datagrams) > stride && s.segment && s.plain.mayPack(to.Addr) {
		err := s.sendMsg(datagrams, stride, to)
		if err == nil || !s.plain.learn(to.Addr, err) {
			return err
		}
	}
	var failed error
	for len(datagrams) > 0 {
		one := datagrams[:min(stride, len(datagrams))]
		datagrams = datagrams[len(one):]
		if err := s.sendMsg(one, 0, to); err != nil {
			failed = err
		}
	}
	return failed
}

// sendMsg makes one system call; a segment of 0 is for a single datagram. A
// source that the host no longer has is left out in a second try.
func (s *socket) sendMsg(b []byte, segment int, to engine.Endpoint) error {
	control := s.controls.Get().(*[]byte)
	defer s.controls.Put(control)
	for {
		oob := (*control)[:0]
		if to.Source.IsValid() {
			oob = s.appendSource(oob, to.Source)
		}
		if segment > 0 {
			oob = appendControl(oob, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 2)
			binary.NativeEndian.PutUint16(oob[len(oob)-unix.CmsgSpace(2)+unix.CmsgLen(0):], uint16(segment))
		}
		err := s.write(b, oob, to.Addr)
		if err == nil || !to.Source.IsValid() || segment > 0 && errors.Is(err, unix.EMSGSIZE) {
			return err
		}
		to.Source = netip.Addr{}
	}
}

// write makes the system call.
func (s *socket) write(b, oob []byte, to netip.AddrPort) error {
	if s.outbox.takes(b, to) {
		return s.outbox.send(b, oob, to)
	}
	_, _, err := s.msg.WriteMsgUDPAddrPort(b, oob, to)
	return err
}

// appendSource appends the control message that sets the source address.
func (s *socket) appendSource(oob []byte, source netip.Addr) []byte {
	if s.is6 {
		oob = appendControl(oob, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
		addr := source.As16()
		copy(oob[len(oob)-unix.CmsgSpace(unix.SizeofInet6Pktinfo)+unix.CmsgLen(0):], addr[:])
		return oob
	}
	oob = appendControl(oob, unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)
	addr := source.As4()
	// struct in_pktinfo: interface index, local address, header destination.
	copy(oob[len(oob)-unix.CmsgSpace(unix.SizeofInet4Pktinfo)+unix.CmsgLen(4):], addr[:])
	return oob
}

// appendControl appends a control message of size zero bytes.
func appendControl(oob []byte, level, kind int32, size int) []byte {
	start := len(oob)
	oob = oob[:start+unix.CmsgSpace(size)]
	clear(oob[start:])
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[start]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(size))
	return oob
}

// receive hands what arrives to handle, until the socket fails or is closed,
// and returns why. The trains are the socket's again when handle returns. Close
// waits for that, so handle must not be what closes the socket.
func (s *socket) receive(handle func([]train)) error {
	if s.inbox == nil {
		return s.receiveSingly(handle)
	}
	return s.inbox.serve(handle)
}
