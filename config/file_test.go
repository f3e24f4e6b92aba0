package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

// writeFile makes a file of a valid tunnel, with just this mode.
func writeFile(t *testing.T, name string, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(newKeyring(t).fill(withLines("", ""))), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // WriteFile's is subject to the umask.
		t.Fatal(err)
	}
	return path
}

func TestReadWireGuard(t *testing.T) {
	path := writeFile(t, "work.conf", 0o600)
	tunnel, warnings, err := ReadWireGuard(path)
	if err != nil || len(warnings) > 0 || tunnel.Name != "work" || len(tunnel.Peers) != 1 {
		t.Errorf("got %+v, %v, %v", tunnel, warnings, err)
	}
}

func TestReadStandardInput(t *testing.T) {
	path := writeFile(t, "work.conf", 0o604)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	stdin := os.Stdin
	os.Stdin = f
	defer func() { os.Stdin = stdin; f.Close() }()

	tunnel, warnings, err := ReadWireGuard("-")
	if err != nil || len(warnings) > 0 || tunnel.Name != "stdin" {
		t.Errorf("got %+v, %v, %v", tunnel, warnings, err)
	}
}

// TestUnreadableFile: one sentence with the path and the remedy, and the
// system's reason within.
func TestUnreadableFile(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing.conf")
	_, _, err := ReadWireGuard(missing)
	checkUnreadable(t, err, missing, "check the path")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v does not wrap ErrNotExist", err)
	}

	_, _, err = ReadWireGuard(dir)
	checkUnreadable(t, err, dir, "this is a directory; name the .conf file in it")

	const noPath = "a\x00b.conf"
	_, _, err = ReadWireGuard(noPath)
	checkUnreadable(t, err, noPath, "check the path")

	// Root, who may run this, can read everything: the error is made by hand.
	forbidden := &fs.PathError{Op: "open", Path: "wg0.conf", Err: syscall.EACCES}
	err = unreadable("wg0.conf", forbidden)
	checkUnreadable(t, err, "wg0.conf", "permission denied; run as a user who may read it, or make this user its owner")
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v does not wrap ErrPermission", err)
	}
}

// TestReader: a device or a pipe may never end, or break.
func TestReader(t *testing.T) {
	text := newKeyring(t).fill(withLines("", ""))
	_, _, err := readWireGuard("pipe", strings.NewReader(text+strings.Repeat("#", maxSize)))
	checkUnreadable(t, err, "pipe", "this is larger than 8 MiB; is it the right file?")

	broken := io.MultiReader(strings.NewReader(text), iotest.ErrReader(syscall.EIO))
	_, _, err = readWireGuard("pipe", broken)
	checkUnreadable(t, err, "pipe", "check the path")
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("%v does not wrap EIO", err)
	}
}

func checkUnreadable(t *testing.T, err error, path, end string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%s: got %v, which is no *Error", path, err)
	}
	if text := e.Error(); !strings.HasPrefix(text, path+": ") || !strings.HasSuffix(text, end) || strings.Count(text, path) != 1 {
		t.Errorf("got %q, want the path %q once and %q at the end", text, path, end)
	}
}
