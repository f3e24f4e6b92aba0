package interop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"
)

// patience is how long anything in a tunnel may take before a test gives up.
// It decides nothing on a machine that gets on at all.
const patience = 2 * time.Minute

// closeWriter is a connection that can be closed one way.
type closeWriter interface {
	net.Conn
	CloseWrite() error
}

// exchange sends size bytes each way at once over one TCP connection and
// compares what arrived, until both ends have seen the other's end.
func exchange(t *testing.T, from, to end, address string, size int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ln, err := to.Listen(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	answered := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err == nil {
			err = talk(c, seedTo, seedFrom, size)
		}
		answered <- err
	}()
	c, err := from.DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if err := talk(c, seedFrom, seedTo, size); err != nil {
		t.Error("the end that dialed:", err)
	}
	if err := <-answered; err != nil {
		t.Error("the end that listened:", err)
	}
}

// The seeds of what the two ends of a connection say.
const (
	seedFrom = 1
	seedTo   = 2
)

// speech is what an end with this seed says.
func speech(seed byte, size int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{seed}), size)
}

// talk says size bytes to the other end and hears as many.
func talk(conn net.Conn, say, hear byte, size int64) error {
	defer conn.Close()
	c, ok := conn.(closeWriter)
	if !ok {
		return fmt.Errorf("%T can't be closed one way", conn)
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	said := make(chan error, 1)
	go func() {
		_, err := io.Copy(c, speech(say, size))
		said <- errors.Join(err, c.CloseWrite())
	}()
	n, got, err := digest(c)
	if err := errors.Join(err, <-said); err != nil {
		return err
	}
	_, want, err := digest(speech(hear, size))
	if err == nil && got != want {
		err = fmt.Errorf("%d bytes came with SHA-256 %x, %d with %x were sent", n, got, size, want)
	}
	return err
}

// digest reads to the end.
func digest(r io.Reader) (n int64, sum [sha256.Size]byte, err error) {
	h := sha256.New()
	n, err = io.Copy(h, r)
	return n, [sha256.Size]byte(h.Sum(nil)), err
}

// ping pings once.
func ping(t *testing.T, from end, dst netip.Addr) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := from.Ping(ctx, dst); err != nil {
		t.Errorf("ping %v: %v", dst, err)
	}
}

// echoDatagrams sends datagrams of these sizes, one after the other, to an echo
// service at the other end.
func echoDatagrams(t *testing.T, from, to end, address string, sizes []int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	service, err := to.ListenPacket(ctx, "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		echoService(service)
	}()
	defer func() {
		service.Close()
		<-served
	}()
	c, err := from.DialContext(ctx, "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for _, size := range sizes {
		sent, got := make([]byte, size), make([]byte, 2*size)
		if _, err := io.ReadFull(speech(seedFrom, int64(size)), sent); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(sent); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		n, err := c.Read(got)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if !bytes.Equal(got[:n], sent) {
			t.Errorf("a datagram of %d bytes came back as another one of %d", size, n)
		}
	}
}

// echoService sends datagrams back until its socket is closed.
func echoService(c net.PacketConn) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		if _, err := c.WriteTo(buf[:n], from); err != nil {
			return
		}
	}
}
