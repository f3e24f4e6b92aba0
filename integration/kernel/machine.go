package kernel

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Limits of waiting, which only a broken machine reaches.
const (
	bootLimit = 60 * time.Second // about 5 s, 20 s on a busy host
	execLimit = 30 * time.Second
)

// Machine is a virtual machine with a Linux kernel.
type Machine struct {
	// Release is the kernel's, as of uname -r.
	Release string

	qemu    *process
	console string // the file with the kernel's messages
	links   atomic.Uint32
	closing sync.Once
}

// Boot starts a machine that lives until the test is over. It skips the test
// when the host lacks what it takes, with a sentence that names the missing
// package; with CI=true in the environment that is a failure.
func Boot(t testing.TB) *Machine {
	t.Helper()
	parts, err := fetch()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	m, err := boot(parts, t.TempDir())
	if err != nil {
		t.Fatalf("booting the kernel peer: %v", err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// boot starts a machine with its files in dir.
func boot(parts system, dir string) (*Machine, error) {
	image, err := parts.image()
	if err != nil {
		return nil, err
	}
	content, err := parts.initramfs()
	if err != nil {
		return nil, err
	}
	initramfs := filepath.Join(dir, "initramfs")
	if err := os.WriteFile(initramfs, content, 0o600); err != nil {
		return nil, err
	}
	m := &Machine{console: filepath.Join(dir, "console.txt")}
	if m.qemu, err = start(dir, arguments(image, initramfs, m.console)); err != nil {
		return nil, err
	}
	err = m.qemu.monitor.greet()
	if err == nil {
		err = m.qemu.shell.ready(bootLimit)
	}
	if err == nil {
		m.Release, err = m.Exec("uname -r")
	}
	if err != nil {
		_ = m.Close()
		return nil, fmt.Errorf("%w\n%s\n%s", err, lastLines(filepath.Join(dir, "qemu.txt")), lastLines(m.console))
	}
	m.Release = strings.TrimSpace(m.Release)
	return m, nil
}

// lastLines are the last of a file, for a message.
func lastLines(file string) string {
	const most = 20
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.SplitAfter(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "")
}

// Exec runs a command in the guest's shell (busybox) and returns what it
// prints, errors included. It fails unless the exit code is 0. Only one
// command runs at a time: one that takes long belongs in the background, with
// its output elsewhere.
func (m *Machine) Exec(command string) (string, error) {
	return m.qemu.shell.run(command, execLimit)
}

// Close ends the machine. Boot has the test call it.
func (m *Machine) Close() (err error) {
	m.closing.Do(func() { err = m.qemu.kill() })
	return err
}
