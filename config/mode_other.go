//go:build !unix

package config

import "io/fs"

// openToOthers can't be told from the mode where access is a matter of lists.
func openToOthers(fs.FileInfo) bool {
	return false
}
