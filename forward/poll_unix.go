//go:build unix

package forward

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// waitReadable blocks until a read of the socket would not block, until its read deadline or until it is closed.
func waitReadable(raw syscall.RawConn) error {
	return raw.Read(func(fd uintptr) bool { return poll(fd, unix.POLLIN) != 0 })
}

// hasError reports whether the socket has an error to report, such as a reset.
func hasError(raw syscall.RawConn) bool {
	var events int16
	err := raw.Control(func(fd uintptr) { events = poll(fd, 0) })
	return err == nil && events&unix.POLLERR != 0
}

// poll returns which of the events, and of POLLERR and POLLHUP, hold for fd now.
func poll(fd uintptr, events int16) int16 {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		_, err := unix.Poll(fds[:], 0)
		switch err {
		case nil:
			return fds[0].Revents
		case unix.EINTR:
		default:
			return unix.POLLERR // the next read or write says what it is
		}
	}
}
