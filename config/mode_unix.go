//go:build unix

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// dontWait opens a pipe that nobody writes to, too, so that it can be refused.
const dontWait = syscall.O_NONBLOCK

// OpenToOthers reports whether users other than the owner and its group have
// any access to a regular file.
func OpenToOthers(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && info.Mode().Perm()&0o007 != 0
}

// checkSecret refuses a file of secrets that others may use or have made.
func checkSecret(info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return &Error{Cause: errors.New("the system does not tell whose file this is"), Remedy: "copy it to a local disk"}
	}
	groups, err := os.Getgroups()
	if err != nil {
		groups = nil // The effective one is all that is known then.
	}
	file := ownership{mode: info.Mode(), user: int(stat.Uid), group: int(stat.Gid)}
	return file.judge(os.Geteuid(), append(groups, os.Getegid()))
}

// An ownership is what decides who may use a file.
type ownership struct {
	mode        fs.FileMode
	user, group int
}

// judge says what is wrong with a file of secrets: it has to be root's or ours,
// may be read by a group of ours, and not used by others.
func (o ownership) judge(ourUser int, ourGroups []int) error {
	mode := o.mode.Perm()
	e := &Error{Remedy: "chmod 600 it; in a Kubernetes volume, set defaultMode: 0440"}
	switch {
	case o.user != 0 && o.user != ourUser:
		return &Error{Cause: errors.New("this file belongs to another user"), Remedy: "make root or the user who runs wimble its owner"}
	case mode&0o007 != 0:
		e.Cause = fmt.Errorf("other users have access to this file (mode %04o)", mode)
	case mode&0o030 != 0:
		e.Cause = fmt.Errorf("its group can do more than read this file (mode %04o)", mode)
	case mode&0o040 != 0 && !slices.Contains(ourGroups, o.group):
		e.Cause = fmt.Errorf("a group that is not ours can read this file (mode %04o)", mode)
	default:
		return nil
	}
	return e
}
