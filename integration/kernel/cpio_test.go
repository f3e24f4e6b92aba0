package kernel

import (
	"strings"
	"testing"
)

// TestArchive compares with what the format's description says, field by
// field; the kernel that boots from such an archive is the other test.
func TestArchive(t *testing.T) {
	var a archive
	a.folder("bin")
	a.file("bin/wg", 0o755, []byte("hello"))
	const zero = "00000000"
	want := strings.Join([]string{
		// inode, mode, uid, gid, links, time, size, four of devices, name's size, checksum
		"070701", "00000001", "000041ED", zero, zero, "00000001", zero, zero, zero, zero, zero, zero, "00000004", zero,
		"bin\x00" + "\x00\x00",
		"070701", "00000002", "000081ED", zero, zero, "00000001", zero, "00000005", zero, zero, zero, zero, "00000007", zero,
		"bin/wg\x00" + "\x00\x00\x00", "hello\x00\x00\x00",
		"070701", "00000003", zero, zero, zero, "00000001", zero, zero, zero, zero, zero, zero, "0000000B", zero,
		"TRAILER!!!\x00" + "\x00\x00\x00",
	}, "")
	if got := string(a.Bytes()); got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}
