package main

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is what a process has used, user and system, its threads that ended too: utime and stime of proc(5), but in
// nanoseconds and not in hundredths of a second.
func cpuTime(pid int) (time.Duration, error) {
	const sched = 2                         // CPUCLOCK_SCHED of a process, as clock_getcpuclockid(3) makes it
	clock := int32(^uint32(pid)<<3 | sched) //nolint:gosec // the system's own arithmetic
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// memory is what a process has resident, now and at most so far, in bytes.
func memory(pid int) (now, peak int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range bytes.Lines(status) {
		var kib int64
		if _, err := fmt.Sscanf(string(line), "VmRSS: %d kB", &kib); err == nil {
			now = kib << 10
		}
		if _, err := fmt.Sscanf(string(line), "VmHWM: %d kB", &kib); err == nil {
			peak = kib << 10
		}
	}
	return now, peak, nil
}

// attributes are those of each process that the bench starts: it ends with the bench, however that ends, and a Ctrl-C
// at the terminal is the bench's to handle.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// toggleProfile begins or ends the profile of a client that was built for it.
func toggleProfile(pid int) error { return syscall.Kill(pid, syscall.SIGUSR2) }
