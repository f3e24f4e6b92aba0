//go:build !linux

package main

import (
	"errors"
	"syscall"
	"time"
)

var errLinux = errors.New("the CPU time and the memory of a client can be read on Linux alone: run the bench there")

func cpuTime(int) (time.Duration, error) { return 0, errLinux }

func memory(int) (now, peak int64, err error) { return 0, 0, errLinux }

func attributes() *syscall.SysProcAttr { return nil }

func toggleProfile(int) error { return errLinux }
