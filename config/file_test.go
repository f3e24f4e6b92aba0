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
	write(t, path, newKeyring(t).fill(withLines("", "")), mode)
	return path
}

// write makes a file with just this mode.
func write(t testing.TB, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // WriteFile's is subject to the umask.
		t.Fatal(err)
	}
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
	checkUnreadable(t, err, dir, "this is a directory; name the file in it")

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
	pipe := strings.NewReader(text + strings.Repeat("#", 2*maxSize))
	long, err := readLimited("pipe", pipe)
	if err != nil || pipe.Len() == 0 {
		t.Errorf("read all but %d bytes, %v; want it to stop above 8 MiB", pipe.Len(), err)
	}
	_, _, err = ParseWireGuard("pipe", long)
	checkUnreadable(t, err, "pipe", "this is larger than 8 MiB; is it the right file?")

	broken := io.MultiReader(strings.NewReader(text), iotest.ErrReader(syscall.EIO))
	_, err = readLimited("pipe", broken)
	checkUnreadable(t, err, "pipe", "check the path")
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("%v does not wrap EIO", err)
	}
}

// TestFormats: the format is told from the text, and else from the name.
func TestFormats(t *testing.T) {
	keys := newKeyring(t)
	wireGuard := keys.fill(withLines("", ""))
	toml := keys.fill(withTOML("", "", ""))
	for _, test := range []struct {
		name, text string
		tunnel     string // "" when it is refused, as the other format.
	}{
		{"a.conf", wireGuard, "a"},
		{"a.toml", wireGuard, "a.toml"},
		{"stdin", "\ufeff# x\r\n\r\n  [ interface ] # y\r\n" + strings.TrimPrefix(wireGuard, "[Interface]"), "stdin"},
		{"WIMBLE_CONFIG", toml, "work"},
		{"a.toml", toml, "work"},
		{"a.conf", toml, "work"},
		{"a.conf", "gateway.tunnel = 'work'\n" + toml, ""},
		{"a.toml", "gateway.tunnel = 'work'\n" + toml, "work"},
		{"a.CONF", "PrivateKey = x", ""},
		{"a", "", ""},
	} {
		config, _, err := Parse(test.name, []byte(test.text))
		if test.tunnel == "" {
			if err == nil {
				t.Errorf("%s: accepted:\n%s", test.name, keys.hide(test.text))
			}
			continue
		}
		if err != nil || len(config.Tunnels) != 1 || strings.TrimSuffix(test.tunnel, ".toml") != config.Tunnels[0].Name {
			t.Errorf("%s: got %v, %v, want tunnel %s", test.name, config.Tunnels, err, test.tunnel)
		}
	}
}

func TestRead(t *testing.T) {
	dir := filledCopy(t, newKeyring(t))
	config, warnings, err := Read(filepath.Join(dir, "full.toml"))
	if err != nil || len(warnings) != 1 || len(config.Proxies) != 3 {
		t.Errorf("TOML: got %v, %v, %v", config, warnings, err)
	}
	config, warnings, err = Read(filepath.Join(dir, "wg-easy.conf"))
	if err != nil || len(warnings) > 0 || len(config.Tunnels) != 1 || len(config.Proxies) > 0 || config.Tunnels[0].Name != "wg-easy" {
		t.Errorf("wg-quick: got %v, %v, %v", config, warnings, err)
	}
	missing := filepath.Join(dir, "missing.toml")
	_, _, err = Read(missing)
	checkUnreadable(t, err, missing, "check the path")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v does not wrap ErrNotExist", err)
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
