package kernel

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// qemu is the program.
const qemu = "qemu-system-x86_64"

// Addresses of qemu's user network.
const (
	guestAddress = "10.0.2.15"
	hostAddress  = "10.0.2.2" // the host's 127.0.0.1, as the guest sees it
)

// arguments are those of qemu for a guest. Descriptor 3 is its second serial
// port, and qemu's own commands come by descriptor 4.
func arguments(image, initramfs, console string) []string {
	return []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		// The richer model "max" takes two to four times as long.
		"-accel", "tcg", "-cpu", "qemu64,+rdrand", "-smp", "1", "-m", "256",
		"-kernel", image, "-initrd", initramfs,
		"-append", "console=ttyS0 panic=-1 mitigations=off random.trust_cpu=on",
		"-chardev", "socket,id=shell,fd=3", "-serial", "file:" + console, "-serial", "chardev:shell",
		"-chardev", "socket,id=monitor,fd=4", "-mon", "chardev=monitor,mode=control",
		"-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0,romfile=",
	}
}

// process is a running qemu.
type process struct {
	cmd     *exec.Cmd
	shell   *shell
	monitor *monitor
	ended   chan struct{} // closed when it has been waited for
}

// start starts qemu; what it complains about goes to a file in dir.
func start(dir string, args []string) (*process, error) {
	complaints, err := os.Create(filepath.Join(dir, "qemu.txt"))
	if err != nil {
		return nil, err
	}
	defer complaints.Close()
	shellOurs, shellTheirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer shellTheirs.Close()
	monitorOurs, monitorTheirs, err := socketPair()
	if err != nil {
		shellOurs.Close()
		return nil, err
	}
	defer monitorTheirs.Close()

	p := &process{
		cmd: exec.Command(qemu, args...), ended: make(chan struct{}),
		shell: newShell(shellOurs), monitor: newMonitor(monitorOurs),
	}
	p.cmd.Stderr = complaints
	p.cmd.ExtraFiles = []*os.File{shellTheirs, monitorTheirs}
	dieWithParent(p.cmd)
	if err := p.run(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// run starts the program and a goroutine that waits for its end. The goroutine
// keeps its thread, because the system takes the end of the thread that
// started a process for the end of the parent.
func (p *process) run() error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.ended)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // it is always killed
		}
	}()
	return <-started
}

// kill ends qemu and waits until it is gone.
func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	<-p.ended
	p.close()
	return err
}

func (p *process) close() {
	p.shell.conn.Close()
	p.monitor.conn.Close()
}
