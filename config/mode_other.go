//go:build !unix

package config

import "io/fs"

// dontWait is for systems where pipes have paths like files.
const dontWait = 0

// OpenToOthers can't be told from the mode where access is a matter of lists.
func OpenToOthers(fs.FileInfo) bool {
	return false
}

// checkSecret can't tell either.
func checkSecret(fs.FileInfo) error {
	return nil
}
