//go:build !386 && !s390x

package forward

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hostSocket reads and writes a stream socket of the host in system calls that the runtime is not told of. They never wait;
// and telling it wakes its monitor, a thread that then looks around every 20 µs: for a process that is idle between two
// small requests, that is a good part of all that a request costs. One goroutine reads it and one writes.
type hostSocket struct {
	net.Conn
	raw syscall.RawConn

	read func(fd uintptr) (done bool) // for raw.Read
	hold *hold
	got  []byte // in hold's buffer; none is the end of the stream
	rerr syscall.Errno

	write func(fd uintptr) (done bool) // for raw.Write
	rest  []byte
	werr  syscall.Errno
}

// socketEnds returns the ends of a stream socket of the host. It is told by its type: what embeds one may hold data of its
// own, of which the socket knows nothing.
func socketEnds(c net.Conn) (source, writer, bool) {
	var raw syscall.RawConn
	var err error
	switch c := c.(type) {
	case *net.TCPConn:
		raw, err = c.SyscallConn()
	case *net.UnixConn:
		raw, err = c.SyscallConn()
	}
	if raw == nil || err != nil {
		return nil, nil, false
	}
	s := &hostSocket{Conn: c, raw: raw}
	s.read, s.write = s.tryRead, s.tryWrite
	return s, s, true
}

func (s *hostSocket) next(h *hold) ([]byte, error) {
	s.hold = h
	err := s.raw.Read(s.read)
	got := s.got
	s.got = nil // it must not keep the buffer alive
	switch {
	case err != nil:
		return nil, err
	case s.rerr != 0:
		return nil, s.failed("read", s.rerr)
	case len(got) == 0:
		return nil, io.EOF
	}
	return got, nil
}

// tryRead has a buffer only while it reads, unless there is data.
func (s *hostSocket) tryRead(fd uintptr) (done bool) {
	buf := s.hold.take()
	n, errno := call(unix.SYS_RECVFROM, fd, buf, unix.MSG_DONTWAIT)
	if errno == unix.EAGAIN {
		s.hold.give()
		return false
	}
	if s.rerr = errno; errno == 0 {
		s.got = buf[:n]
	}
	return true
}

// Write writes all of b. Much of it may keep the kernel busy for long; then the runtime is told, and lends the processor to
// others.
func (s *hostSocket) Write(b []byte) (int, error) {
	if len(b) > smallSize {
		return s.Conn.Write(b)
	}
	s.rest, s.werr = b, 0
	err := s.raw.Write(s.write)
	n := len(b) - len(s.rest)
	s.rest = nil
	if err == nil && s.werr != 0 {
		err = s.failed("write", s.werr)
	}
	return n, err
}

func (s *hostSocket) tryWrite(fd uintptr) (done bool) {
	for len(s.rest) > 0 {
		n, errno := call(unix.SYS_SENDTO, fd, s.rest, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if errno == unix.EAGAIN {
			return false
		}
		if s.werr = errno; errno != 0 {
			break
		}
		s.rest = s.rest[n:]
	}
	return true
}

// call makes a system call with a buffer that is not empty. MSG_DONTWAIT must be among the flags: it holds even if whoever
// has the socket too made that wait, and a call that waits would hold up the whole program here.
func call(number, fd uintptr, b []byte, flags uintptr) (int, syscall.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(number, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), flags, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// failed is the error that package net makes of errno.
func (s *hostSocket) failed(op string, errno syscall.Errno) error {
	return &net.OpError{Op: op, Net: s.LocalAddr().Network(), Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: os.NewSyscallError(op, errno)}
}
