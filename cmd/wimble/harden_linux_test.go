package main

import (
	"fmt"
	"os"
	"regexp"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHarden: no core dump of a running process holds its keys, and no process of the same user can look into it
// (FAULTS W24).
func TestHarden(t *testing.T) {
	p := start(t, t.TempDir(), "demo", "-D", "0")
	p.says(t, `^proxy `)
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^Max core file size +0 +0 `).Match(limits) {
		t.Errorf("core dumps are not limited:\n%s", limits)
	}
	p.endsWell(t, syscall.SIGINT)

	harden()
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
		t.Errorf("the process is dumpable: %d, %v", dumpable, err)
	}
}
