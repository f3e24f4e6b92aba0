package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// runDirs are the folders where running instances have their control sockets, the preferred ones first: the user's own
// (XDG Base Directory Specification), the system's for root and for containers, and what there always is.
func runDirs() []string {
	var dirs []string
	if user := os.Getenv("XDG_RUNTIME_DIR"); user != "" {
		dirs = append(dirs, filepath.Join(user, "wimble"))
	}
	// Where users have no numbers, they have folders for temporary files of their own.
	return append(dirs, "/run/wimble", filepath.Join(os.TempDir(), "wimble-"+strconv.Itoa(os.Getuid())))
}

// makeRunDir returns the first of some folders that can be had for control sockets.
func makeRunDir(dirs []string) (string, error) {
	var reasons []string
	for _, dir := range dirs {
		err := os.Mkdir(dir, 0o700)
		if err == nil || errors.Is(err, os.ErrExist) {
			err = checkRunDir(dir)
		}
		if err == nil {
			err = os.Chmod(dir, 0o700) // it may have been there before, on a file system that is read-only now
		}
		if err == nil {
			return dir, nil
		}
		reasons = append(reasons, err.Error())
	}
	return "", fmt.Errorf("%s; make one of these folders writable, or name another in XDG_RUNTIME_DIR", strings.Join(reasons, ", "))
}

// checkRunDir refuses a folder that another user could have put there.
func checkRunDir(dir string) error {
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s: not a folder", dir)
	case !ownedByUs(info):
		return fmt.Errorf("%s: it belongs to another user", dir)
	}
	return nil
}
