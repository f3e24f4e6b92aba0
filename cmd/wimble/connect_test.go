//go:build unix

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/forward"
)

// TestConnectHalfClose: the end of either stream is passed on, and the other goes on (FAULTS F1). The one that ends last
// arrives whole, although the command ends with it.
func TestConnectHalfClose(t *testing.T) {
	t.Parallel()
	ask, tell := bytes.Repeat([]byte("ask "), 1<<21), bytes.Repeat([]byte("tell "), 1<<18)
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

// TestConnectLeaves: who is told to end still carries what it was given, and tells the target that this was all. ssh ends
// its ProxyCommand in this way.
func TestConnectLeaves(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		end, _, dir := newFarEnd(t)
		ln, err := end.net.Listen(t.Context(), "tcp", "10.77.0.1:2000")
		if err != nil {
			t.Fatal(err)
		}
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
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		// It is at work when something has come through.
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		last := bytes.Repeat([]byte("last words "), 1<<12) // within a pipe's 64 KiB
		if _, err := in.Write(last); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		in.Close()
		out.Close()
		_ = c.SetReadDeadline(time.Now().Add(time.Minute)) // an end that never comes fails the test, too
		if heard, err := io.ReadAll(c); err != nil || !bytes.Equal(heard, last) {
			t.Errorf("%v: the target heard %d bytes, %v, want %d and the end", sig, len(heard), err, len(last))
		}
		// Nobody reads this, which must not hold anything up.
		_, _ = c.Write([]byte("y"))
		c.Close()
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitRuntime || stderr.Len() > 0 {
			t.Errorf("%v: %v, and it said %q, want exit code %d alone", sig, err, stderr.String(), exitRuntime)
		}
		ln.Close()
	}
}
