//go:build !unix

package main

import "io/fs"

// openToOthers reports nothing where files have no such modes.
func openToOthers(fs.FileInfo) bool { return false }
