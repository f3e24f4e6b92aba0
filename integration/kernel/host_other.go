//go:build !linux

package kernel

import (
	"errors"
	"os"
	"os/exec"
)

// dieWithParent has nothing to do: machines run on Linux only.
func dieWithParent(*exec.Cmd) {}

func socketPair() (ours, theirs *os.File, err error) {
	return nil, nil, errors.ErrUnsupported
}
