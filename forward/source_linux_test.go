//go:build !386 && !s390x

package forward

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSocketInBlockingMode: a socket that someone else made wait, as os.File's Fd did, must not hold up the program.
func TestSocketInBlockingMode(t *testing.T) {
	near, far := newTCPPair(t)
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err2 := raw.Control(func(fd uintptr) { err = unix.SetNonblock(int(fd), false) }); err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	from, to := ends(near)
	h := &hold{pool: new(pool)}
	for _, tt := range []struct {
		name string
		call func() error
	}{
		{"read", func() error { _, err := from.next(h); return err }},
		{"write", func() error {
			for {
				if _, err := to.Write(make([]byte, smallSize)); err != nil {
					return err
				}
			}
		}},
	} {
		ended := make(chan error)
		go func() { ended <- tt.call() }()
		_ = near.SetDeadline(time.Now().Add(20 * time.Millisecond))
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v, want the deadline's error", tt.name, err)
		}
		_ = near.SetDeadline(time.Time{})
	}
	far.Close()
}
