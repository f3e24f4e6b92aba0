package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// findFile is the path of a configuration: the argument itself, or where the configuration of that name is.
func findFile(arg string) (string, error) {
	if arg == "" {
		return "", usagef("the name of the file is empty")
	}
	if arg == "-" || exists(arg) {
		return arg, nil
	}
	if mayBeKey(arg) {
		return "", usagef("there is no such file, and its name is not repeated, as it may be a key; keys belong in the file")
	}
	if !isName(arg) {
		return arg, nil // for the error of who opens it
	}
	var tried []string
	for _, dir := range configDirs() {
		path := filepath.Join(dir, arg+".conf")
		if exists(path) {
			return path, nil
		}
		tried = append(tried, path)
	}
	return "", refuse(arg, fmt.Errorf("there is neither this file nor %s", strings.Join(tried, ", ")), "name a wg-quick file")
}

// exists reports whether there is something at path. What can't be looked at counts, so that opening it says why.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// isName tells names from paths.
func isName(arg string) bool {
	return !strings.ContainsAny(arg, `/\`) && filepath.Ext(arg) != ".conf"
}

// mayBeKey reports whether a word has the form of a key in base64 or hexadecimal.
func mayBeKey(word string) bool {
	const shortest, longest = 42, 64
	word = strings.TrimRight(word, "=")
	return len(word) >= shortest && len(word) <= longest && strings.Trim(word,
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_") == ""
}

// configDirs are the folders where configurations with a name are looked for.
func configDirs() []string {
	user := os.Getenv("XDG_CONFIG_HOME")
	if user == "" {
		user, _ = os.UserConfigDir() // there is none without a home
	}
	var dirs []string
	if user != "" {
		dirs = append(dirs, filepath.Join(user, "wimble"))
	}
	return append(dirs, "/etc/wimble", "/etc/wireguard")
}

// configNames are the names that findFile knows and that start with prefix.
func configNames(prefix string) (names []string) {
	for _, dir := range configDirs() {
		entries, _ := os.ReadDir(dir) // a folder that can't be read has no names for us
		for _, entry := range entries {
			if name, ok := strings.CutSuffix(entry.Name(), ".conf"); ok && strings.HasPrefix(name, prefix) {
				names = append(names, name)
			}
		}
	}
	return names
}
