package wireguard

import (
	"errors"
	"syscall"
)

// wsaEADDRINUSE is what Windows calls a port that is taken; package syscall
// has an invented number for EADDRINUSE there.
const wsaEADDRINUSE = syscall.Errno(10048)

// inUse reports whether a port is taken.
func inUse(err error) bool {
	return errors.Is(err, wsaEADDRINUSE) || errors.Is(err, syscall.EADDRINUSE)
}
