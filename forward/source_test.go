package forward

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestSocketWaits: a read of a socket that has no data holds no buffer (else it fails by the test's time-out), and is ended by a deadline, by Close, by data, by
// the end of the stream and by a reset.
func TestSocketWaits(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(near, far *net.TCPConn)
		data string
		err  error
	}{
		{"deadline", func(near, _ *net.TCPConn) { _ = near.SetReadDeadline(time.Unix(1, 0)) }, "", os.ErrDeadlineExceeded},
		{"close", func(near, _ *net.TCPConn) { near.Close() }, "", net.ErrClosed},
		{"data", func(_, far *net.TCPConn) { _, _ = io.WriteString(far, "data") }, "data", nil},
		{"end", func(_, far *net.TCPConn) { far.Close() }, "", io.EOF},
		{"reset", func(_, far *net.TCPConn) { reset(far) }, "", syscall.ECONNRESET},
	} {
		t.Run(tt.name, func(t *testing.T) {
			near, far := newTCPPair(t)
			from, _ := ends(near)
			var buffers pool
			h := &hold{pool: &buffers}
			// The first read leaves it waiting for the second, which may begin before or after what ends it.
			if _, err := io.WriteString(far, "first"); err != nil {
				t.Fatal(err)
			}
			if b, err := from.next(h); string(b) != "first" || err != nil {
				t.Fatalf("read %q, %v", b, err)
			}
			h.give()
			type read struct {
				data string
				err  error
			}
			done := make(chan read)
			go func() {
				b, err := from.next(h)
				done <- read{string(b), err}
			}()
			for buffers.taken.Load() != 0 { // it takes one only to find that there is nothing
				time.Sleep(time.Millisecond)
			}
			tt.end(near, far)
			if got := <-done; got.data != tt.data || !errors.Is(got.err, tt.err) {
				t.Errorf("read %q, %v; want %q, %v", got.data, got.err, tt.data, tt.err)
			}
		})
	}
}

// TestSocketWritesAll: small writes wait for a reader that is slow, and one that a deadline ends says how much went.
func TestSocketWritesAll(t *testing.T) {
	const size = 16 << 20
	near, far := newTCPPair(t)
	_, to := ends(near)
	chunk := make([]byte, smallSize)
	sent := 0
	_ = near.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	want := stream(5, size)
	for {
		n, _ := io.ReadFull(want, chunk)
		n, err := to.Write(chunk[:n])
		sent += n
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("after %d bytes: %v", sent, err)
			}
			break
		}
		if sent == size {
			t.Fatal("all was written, though nobody read")
		}
	}
	_ = near.SetWriteDeadline(time.Time{})
	rest, err := io.ReadAll(stream(5, size))
	if err != nil {
		t.Fatal(err)
	}
	rest = rest[sent:]
	go func() {
		defer func() { _ = near.CloseWrite() }()
		for len(rest) > 0 {
			n, err := to.Write(rest[:min(smallSize, len(rest))])
			if err != nil {
				t.Errorf("write: %v", err)
				return
			}
			rest = rest[n:]
		}
	}()
	if got, want := sum(far), sum(stream(5, size)); !bytes.Equal(got, want) {
		t.Errorf("seed 5: received a stream with sha256 %x, want %x", got, want)
	}
}

// TestSocketWriteToNobody: a failed write is the system's error in package net's words.
func TestSocketWriteToNobody(t *testing.T) {
	near, far := newTCPPair(t)
	_, to := ends(near)
	reset(far)
	for {
		if _, err := to.Write([]byte("x")); err != nil {
			var op *net.OpError
			if !errors.As(err, &op) || !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("write to a reset connection: %v", err)
			}
			return
		}
	}
}
