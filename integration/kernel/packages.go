package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// kernelPackage is the package that depends on the newest kernel: the smallest
// one that knows virtio and WireGuard.
const kernelPackage = "linux-image-cloud-amd64"

// system holds the folders of unpacked packages that a guest is made of.
type system struct {
	kernel, wireguard, busybox, libc string
}

// fetch downloads and unpacks the packages, unless the cache has them. They
// are not installed. An error is a sentence about what is missing.
func fetch() (system, error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return system{}, fmt.Errorf("the kernel peer is made of Debian's packages for amd64, and this is %s on %s", runtime.GOOS, runtime.GOARCH)
	}
	for _, need := range []struct{ program, pkg string }{
		{qemu, "qemu-system-x86"},
		{"apt-get", "apt"},
		{"dpkg", "dpkg"},
	} {
		if _, err := exec.LookPath(need.program); err != nil {
			return system{}, fmt.Errorf("the kernel peer needs %s: install the package %s", need.program, need.pkg)
		}
	}
	cache, err := cacheFolder()
	if err != nil {
		return system{}, fmt.Errorf("the kernel peer needs a folder for packages, which WIMBLE_TEST_CACHE can name: %w", err)
	}
	image, err := dependency(kernelPackage)
	if err != nil {
		return system{}, err
	}
	names := []string{image, "wireguard-tools", "busybox-static", "libc6"}
	dirs, err := unpacked(cache, names)
	if err != nil {
		return system{}, fmt.Errorf("the kernel peer needs the packages %s: %w", strings.Join(names, ", "), err)
	}
	return system{kernel: dirs[0], wireguard: dirs[1], busybox: dirs[2], libc: dirs[3]}, nil
}

// cacheFolder makes the folder that the unpacked packages stay in.
func cacheFolder() (string, error) {
	dir := os.Getenv("WIMBLE_TEST_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(user, "wimble-test", "packages")
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// dependency is the kernel image that a package depends on.
func dependency(pkg string) (string, error) {
	out, err := run("", "apt-cache", "depends", pkg)
	if err != nil {
		return "", fmt.Errorf("the kernel peer needs the package %s: %w", pkg, err)
	}
	for line := range strings.Lines(out) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: ")
		if ok && strings.HasPrefix(name, "linux-image-") {
			return name, nil
		}
	}
	return "", fmt.Errorf("the package %s depends on no kernel image:\n%s", pkg, out)
}

// unpacked returns the folders with the present versions of packages, in the
// order of the names.
func unpacked(cache string, names []string) ([]string, error) {
	out, err := run("", "apt-get", append([]string{"--print-uris", "download"}, names...)...)
	if err != nil {
		return nil, err
	}
	files := parseURIs(out)
	dirs := make([]string, len(names))
	for i, name := range names {
		file, ok := files[name]
		if !ok {
			return nil, fmt.Errorf("apt-get does not say where %s is:\n%s", name, out)
		}
		dirs[i] = filepath.Join(cache, strings.TrimSuffix(file, ".deb"))
		if _, err := os.Stat(dirs[i]); err == nil {
			continue
		}
		if err := unpack(name, dirs[i]); err != nil {
			return nil, err
		}
	}
	return dirs, nil
}

// parseURIs reads what apt-get would download, and returns the names of the
// files by those of the packages. Each line is like
//
//	'ADDRESS' libc6_2.36-9+deb12u14_amd64.deb 2759320 SHA256:ba4f…
func parseURIs(out string) map[string]string {
	files := map[string]string{}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		file := filepath.Base(fields[1])
		if name, _, ok := strings.Cut(file, "_"); ok {
			files[name] = file
		}
	}
	return files
}

// unpack downloads a package and unpacks it to dir. What is there under that
// name is whole, whoever else does the same now.
func unpack(name, dir string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if _, err := run(tmp, "apt-get", "download", name); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("apt-get downloaded %d files, want one", len(debs))
	}
	root := filepath.Join(tmp, "root")
	if _, err := run(tmp, "dpkg", "-x", debs[0], root); err != nil {
		return err
	}
	if err := os.Rename(root, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// run runs a program in dir and returns its output; the error has what it
// complained about.
func run(dir, program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, bytes.TrimSpace(complaints.Bytes()))
	}
	return string(out), nil
}
