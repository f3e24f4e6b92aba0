//go:build !unix

package forward

import "syscall"

// waitReadable blocks until a read of the socket would not block, until its read deadline or until it is closed. Where
// there is no poll, package net waits between two calls of the function.
func waitReadable(raw syscall.RawConn) error {
	waited := false
	return raw.Read(func(uintptr) bool {
		ready := waited
		waited = true
		return ready
	})
}

// hasError always reports false: an error shows in the next read or write.
func hasError(syscall.RawConn) bool { return false }
