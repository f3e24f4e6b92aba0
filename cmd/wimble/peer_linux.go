package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// sameUser reports whether the process at the other end of a Unix socket runs as the user that we run as.
func sameUser(fd uintptr) bool {
	peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	return err == nil && int(peer.Uid) == os.Geteuid()
}
