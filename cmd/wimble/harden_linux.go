package main

import "golang.org/x/sys/unix"

// harden keeps keys out of core dumps, and out of the reach of other processes of the same user. A system that denies
// it is no reason not to start.
func harden() {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}
