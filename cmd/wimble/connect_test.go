//go:build unix

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"
)

// TestConnectHalfClose: the end of either stream is passed on, and the other goes on (FAULTS F1).
func TestConnectHalfClose(t *testing.T) {
	t.Parallel()
	end, _, dir := newFarEnd(t)
	ln, err := end.net.Listen(t.Context(), "tcp", "10.77.0.1:2000")
	if err != nil {
		t.Fatal(err)
	}
	ask, tell := bytes.Repeat([]byte("ask "), 1<<11), bytes.Repeat([]byte("tell "), 1<<18)
	heard := make(chan []byte)
	go func() {
		// To the first, it listens to the end before it speaks; to the second, the other way round.
		for i := range 2 {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			listen := func() {
				said, _ := io.ReadAll(c)
				heard <- said
			}
			if i == 0 {
				listen()
			}
			_, _ = c.Write(tell)
			_ = c.(interface{ CloseWrite() error }).CloseWrite()
			if i == 1 {
				listen()
			}
			c.Close()
		}
	}()
	for i, name := range []string{"end of input first", "end of output first"} {
		cmd := exec.Command(executable(t))
		cmd.Args = []string{"wimble", "connect", "wg0.conf", "10.77.0.1:2000"}
		cmd.Dir, cmd.Env = dir, append(os.Environ(), noRaceSleep)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		in, err1 := cmd.StdinPipe()
		out, err2 := cmd.StdoutPipe()
		if err := errors.Join(err1, err2, cmd.Start()); err != nil {
			t.Fatal(err)
		}
		hear := func() {
			if said, err := io.ReadAll(out); err != nil || !bytes.Equal(said, tell) {
				t.Errorf("%s: it printed %d bytes, %v, want %d", name, len(said), err, len(tell))
			}
		}
		if i == 1 {
			hear()
		}
		if _, err := in.Write(ask); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		in.Close()
		if t.Failed() {
			t.Fatalf("%s: %v, and it said %q", name, cmd.Wait(), stderr.String())
		}
		if said := <-heard; !bytes.Equal(said, ask) {
			t.Errorf("%s: the target heard %d bytes, want %d", name, len(said), len(ask))
		}
		if i == 0 {
			hear()
		}
		if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
			t.Errorf("%s: %v, and it said %q", name, err, stderr.String())
		}
	}
}
