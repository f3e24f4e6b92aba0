package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// profiled makes the flag for a build of Wimble that can be profiled: the program with one file more,
// testdata/profile.go.
func (l *lab) profiled(root string) (flag string, err error) {
	if err := os.MkdirAll(l.profiles, 0o777); err != nil {
		return "", err
	}
	var overlay struct{ Replace map[string]string }
	overlay.Replace = map[string]string{
		filepath.Join(root, "cmd", "wimble", "profile.go"): filepath.Join(root, "integration", "bench", "testdata", "profile.go"),
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	file := filepath.Join(l.dir, "overlay.json")
	return "-overlay=" + file, os.WriteFile(file, text, 0o600)
}

// beginProfile has the client begin a profile, and waits until it has, because two signals at once would be one. The path
// is without ".cpu", and "" for none.
func beginProfile(path string, pid int) error {
	if path == "" {
		return nil
	}
	for _, ending := range []string{".cpu", ".part"} {
		if err := os.RemoveAll(path + ending); err != nil {
			return err
		}
	}
	return toggle(pid, path+".part")
}

// endProfile has the client write what it began, and waits for it.
func endProfile(path string, pid int) error {
	if path == "" {
		return nil
	}
	return toggle(pid, path+".cpu")
}

// toggle sends the signal, which is answered by a file.
func toggle(pid int, file string) error {
	if err := toggleProfile(pid); err != nil {
		return err
	}
	for start := time.Now(); time.Since(start) < patience; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(file); err == nil {
			return nil
		}
	}
	return fmt.Errorf("the client did not write %s in %v", file, patience)
}

// fileOf is the path of a file that is named after a row, without its ending.
func fileOf(dir, row string) string {
	return filepath.Join(dir, regexp.MustCompile(`[^A-Za-z0-9.]+`).ReplaceAllString(row, "-"))
}
