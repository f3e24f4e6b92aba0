package kernel

import (
	"bytes"
	"fmt"
	"io/fs"
)

// archive is a file system for the kernel to start with: a cpio archive in the
// format "newc" (Linux, Documentation/driver-api/early-userspace/
// buffer-format.rst). The zero value is empty; Bytes ends it.
type archive struct {
	buf   bytes.Buffer
	inode int
}

// File types as the archive's modes have them.
const (
	modeFolder = 0o040000
	modeFile   = 0o100000
)

// folder adds a folder. Its parents must be there already.
func (a *archive) folder(name string) {
	a.entry(name, modeFolder|0o755, nil)
}

// file adds a file. Its folder must be there already.
func (a *archive) file(name string, perm fs.FileMode, content []byte) {
	a.entry(name, modeFile|int(perm.Perm()), content)
}

// entry adds a header of 13 numbers, the name with a zero byte, and the
// content; name and content are filled up to a multiple of four bytes.
func (a *archive) entry(name string, mode int, content []byte) {
	const links = 1
	a.inode++
	a.buf.WriteString("070701")
	for _, field := range []int{
		a.inode, mode, 0 /* uid */, 0 /* gid */, links, 0, /* time */
		len(content), 0, 0, 0, 0 /* devices */, len(name) + 1, 0, /* checksum */
	} {
		fmt.Fprintf(&a.buf, "%08X", field)
	}
	a.buf.WriteString(name + "\x00")
	a.align()
	a.buf.Write(content)
	a.align()
}

func (a *archive) align() {
	for a.buf.Len()%4 != 0 {
		a.buf.WriteByte(0)
	}
}

// Bytes ends the archive and returns it.
func (a *archive) Bytes() []byte {
	a.entry("TRAILER!!!", 0, nil)
	return a.buf.Bytes()
}
