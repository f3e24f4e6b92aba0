//go:build darwin || freebsd

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// sameUser reports whether the process at the other end of a Unix socket runs as the user that we run as.
func sameUser(fd uintptr) bool {
	const solLocal = 0 // SOL_LOCAL of sys/un.h
	peer, err := unix.GetsockoptXucred(int(fd), solLocal, unix.LOCAL_PEERCRED)
	return err == nil && int(peer.Uid) == os.Geteuid()
}
