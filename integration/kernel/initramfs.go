package kernel

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
)

// initScript is the first process of the guest.
//
//go:embed init.sh
var initScript []byte

// guestModules are what the guest needs and the kernel does not have built in.
var guestModules = []string{"virtio_pci", "virtio_net", "wireguard"}

// image is the path of the kernel to boot.
func (s system) image() (string, error) {
	found, err := filepath.Glob(filepath.Join(s.kernel, "boot", "vmlinuz-*"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("%d kernels in %s, want one", len(found), s.kernel)
	}
	return found[0], nil
}

// initramfs is the guest's file system.
func (s system) initramfs() ([]byte, error) {
	var a archive
	for _, name := range []string{"bin", "dev", "proc", "sys", "tmp", "modules", "lib", "lib/x86_64-linux-gnu", "lib64"} {
		a.folder(name)
	}
	a.file("init", 0o755, initScript)

	add := func(name, source string) error {
		content, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		a.file(name, 0o755, content)
		return nil
	}
	for _, file := range []struct{ name, from, path string }{
		{"bin/busybox", s.busybox, "bin/busybox"},
		{"bin/wg", s.wireguard, "usr/bin/wg"},
		{"lib/x86_64-linux-gnu/libc.so.6", s.libc, "lib/x86_64-linux-gnu/libc.so.6"},
		{"lib64/ld-linux-x86-64.so.2", s.libc, "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"},
	} {
		if err := add(file.name, filepath.Join(file.from, file.path)); err != nil {
			return nil, err
		}
	}

	all, err := findModules(filepath.Join(s.kernel, "lib", "modules"))
	if err != nil {
		return nil, err
	}
	files, err := all.order(guestModules...)
	if err != nil {
		return nil, err
	}
	for i, file := range files {
		if err := add(fmt.Sprintf("modules/%02d-%s", i, filepath.Base(file)), file); err != nil {
			return nil, err
		}
	}
	return a.Bytes(), nil
}
