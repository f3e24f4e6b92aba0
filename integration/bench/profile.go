package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
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

// fileOf is the path of a file that is named after a row, without its ending.
func fileOf(dir, row string) string {
	return filepath.Join(dir, regexp.MustCompile(`[^A-Za-z0-9.]+`).ReplaceAllString(row, "-"))
}
