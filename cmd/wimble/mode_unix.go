//go:build unix

package main

import "io/fs"

// openToOthers reports whether users other than the owner and its group have any access to a regular file.
func openToOthers(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && info.Mode().Perm()&0o007 != 0
}
