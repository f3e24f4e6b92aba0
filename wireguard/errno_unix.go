//go:build !windows

package wireguard

import (
	"errors"
	"syscall"
)

// inUse reports whether a port is taken.
func inUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
