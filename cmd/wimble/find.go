package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// extensions are what the files of configurations end in.
var extensions = []string{".toml", ".conf"}

// usualFiles are the configurations that are looked for when none is named.
var usualFiles = []string{"wimble.toml", "wg0.conf"}

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
	var names []string
	for _, extension := range extensions {
		names = append(names, arg+extension)
	}
	if path := firstOf(names); path != "" {
		return path, nil
	}
	return "", refuse(arg, fmt.Errorf("there is neither this file nor %s in %s", orList(names), orList(configDirs())),
		"name a wg-quick file or one in TOML")
}

// findUsual is the path of the configuration that is used when none is named.
func findUsual() (string, error) {
	if path := firstOf(usualFiles); path != "" {
		return path, nil
	}
	return "", refuse("configuration", fmt.Errorf("no file is named, the environment has none, and there is no %s in %s",
		orList(usualFiles), orList(configDirs())), "name a wg-quick file or one in TOML")
}

// firstOf is the path of the first file with one of the names in the usual folders, or "".
func firstOf(names []string) string {
	for _, dir := range configDirs() {
		for _, name := range names {
			if path := filepath.Join(dir, name); exists(path) {
				return path
			}
		}
	}
	return ""
}

// exists reports whether there is something at path. What can't be looked at counts, so that opening it says why.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// isName tells names from paths.
func isName(arg string) bool {
	return !strings.ContainsAny(arg, `/\`) && !slices.Contains(extensions, filepath.Ext(arg))
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
	return append(dirs, "/etc/wimble", "/etc/wireguard", "/run/secrets")
}

// configNames are the names that findFile knows and that start with prefix.
func configNames(prefix string) (names []string) {
	for _, dir := range configDirs() {
		entries, _ := os.ReadDir(dir) // a folder that can't be read has no names for us
		for _, entry := range entries {
			extension := filepath.Ext(entry.Name())
			if slices.Contains(extensions, extension) && strings.HasPrefix(entry.Name(), prefix) {
				names = append(names, strings.TrimSuffix(entry.Name(), extension))
			}
		}
	}
	return names
}

// orList is a list of alternatives as a sentence has it.
func orList(items []string) string {
	last := len(items) - 1
	if last < 1 {
		return strings.Join(items, "")
	}
	return strings.Join(items[:last], ", ") + " or " + items[last]
}
