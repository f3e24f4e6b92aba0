//go:build !linux && !darwin && !freebsd

package main

// sameUser reports true: here the mode of the folder has to keep others out.
func sameUser(uintptr) bool { return true }
