//go:build unix

package main

import (
	"syscall"
	"time"
)

// processTime is the CPU time that the program has used, if the system says.
func processTime() (used time.Duration, ok bool) {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0, false
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), true
}
