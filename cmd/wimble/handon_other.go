//go:build !unix

package main

import "os"

// handedOn are the signals that must not end us before the command.
var handedOn = []os.Signal{os.Interrupt}

// handOn does nothing: the console has sent it to the command too.
func handOn(*os.Process, os.Signal) {}

// statusCode is how a command ended.
func statusCode(state *os.ProcessState) int { return state.ExitCode() }
