//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMakeRunDir: the first folder is taken that no other user can have put there, and it is closed to them.
func TestMakeRunDir(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		os.Mkdir(in("good"), 0o755), os.WriteFile(in("file"), nil, 0o600), os.Symlink("good", in("link")), os.Mkdir(in("foreign"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	dirs := []string{in("missing/wimble"), in("file"), in("link")}
	if os.Getuid() == 0 { // only root can give a folder away
		if err := os.Chown(in("foreign"), 65534, 65534); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, in("foreign"))
	}
	if got, err := makeRunDir(dirs); err == nil || got != "" || strings.Count(err.Error(), ", ") != len(dirs) {
		t.Errorf("of folders that can't be had: got %q, %v", got, err)
	}
	if got, err := makeRunDir(append(dirs, in("good"), in("other"))); err != nil || got != in("good") {
		t.Errorf("got %q, %v", got, err)
	}
	if info, err := os.Stat(in("good")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	if got, err := makeRunDir([]string{in("file"), in("new")}); err != nil || got != in("new") {
		t.Errorf("got %q, %v", got, err)
	}
}
