//go:build unix

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/wimble-proxy/wimble/forward"
)

// TestConnectHalfClose: the end of either stream is passed on, and the other goes on (FAULTS F1).
func TestConnectHalfClose(t *testing.T) {
	t.Parallel()
	ask, tell := bytes.Repeat([]byte("ask "), 1<<11), bytes.Repeat([]byte("tell "), 1<<18)
	for _, askFirst := range []bool{true, false} {
		end, _, dir := newFarEnd(t)
		ln, err := end.net.Listen(t.Context(), "tcp", "10.77.0.1:2000")
		if err != nil {
			t.Fatal(err)
		}
		heard := make(chan []byte, 1)
		go func() {
			defer close(heard)
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			inOrder(askFirst, func() {
				said, _ := io.ReadAll(c) // who looks at it knows how much there should be
				heard <- said
			}, func() {
				_, _ = c.Write(tell)
				_ = forward.CloseWrite(c)
			})
		}()

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
		inOrder(askFirst, func() {
			if _, err := in.Write(ask); err != nil {
				t.Errorf("ask first %v: %v", askFirst, err)
			}
			in.Close()
			if said := <-heard; !bytes.Equal(said, ask) {
				t.Errorf("ask first %v: the target heard %d bytes, want %d", askFirst, len(said), len(ask))
			}
		}, func() {
			if said, err := io.ReadAll(out); err != nil || !bytes.Equal(said, tell) {
				t.Errorf("ask first %v: it printed %d bytes, %v, want %d", askFirst, len(said), err, len(tell))
			}
		})
		if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
			t.Errorf("ask first %v: %v, and it said %q", askFirst, err, stderr.String())
		}
		ln.Close()
	}
}

// inOrder calls both functions, first the one or the other.
func inOrder(forwards bool, a, b func()) {
	if !forwards {
		a, b = b, a
	}
	a()
	b()
}

// TestConnectReset: a target that breaks off is a failure.
func TestConnectReset(t *testing.T) {
	t.Parallel()
	end, _, dir := newFarEnd(t)
	ln, err := end.net.Listen(t.Context(), "tcp", "10.77.0.1:2000")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		if c, err := ln.Accept(); err == nil {
			_, _ = c.Read(make([]byte, 1))
			forward.ResetOnClose(c)
			c.Close()
		}
	}()
	cmd := exec.Command(executable(t))
	cmd.Args = []string{"wimble", "connect", "wg0.conf", "10.77.0.1:2000"}
	cmd.Dir, cmd.Env = dir, append(os.Environ(), noRaceSleep)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if want := "wimble: 10.77.0.1:2000: connection reset by peer\n"; cmd.ProcessState.ExitCode() != exitRuntime || string(out) != want {
		t.Errorf("%v, and it said %q, want %q", err, out, want)
	}
}
