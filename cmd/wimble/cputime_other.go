//go:build !unix

package main

import "time"

// processTime says nothing: no other system is asked.
func processTime() (used time.Duration, ok bool) { return 0, false }
