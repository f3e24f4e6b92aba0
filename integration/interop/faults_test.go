package interop

import (
	"context"
	"crypto/sha256"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The tests named TestW19 to TestW21 are faults of the path between two ends,
// both of ours and one of wireguard-go's.

// faultSeed decides what is lost, and in which order the rest arrives.
const faultSeed = 7

// impaired unites two nodes over a path that does the same both ways.
func impaired(t *testing.T, from, to implementation, u union, p path) *couple {
	t.Helper()
	u.through = func(to netip.AddrPort) netip.AddrPort {
		return newRelay(t, to, p, p, faultSeed).addr()
	}
	return unite(t, from, to, u)
}

// sideBySide does the same with our engine and with wireguard-go, both times
// against wireguard-go on the same path, at once. It returns how long it took.
func sideBySide(t *testing.T, p path, do func(t *testing.T, c *couple)) (ours, theirs time.Duration) {
	t.Run("side by side", func(t *testing.T) {
		for _, of := range []implementation{wimble, wireguardGo} {
			t.Run(of.name, func(t *testing.T) {
				t.Parallel()
				c := impaired(t, of, wireguardGo, union{}, p)
				start := time.Now()
				do(t, c)
				if took := time.Since(start); of.name == wimble.name {
					ours = took
				} else {
					theirs = took
				}
			})
		}
	})
	return ours, theirs
}

// lossy is the path of the tests named TestW19.
var lossy = path{loss: 0.3, delay: 25 * time.Millisecond}

// TestW19Loss downloads 10 MB where 30 % of the datagrams are lost each way and
// the round trip takes 50 ms.
func TestW19Loss(t *testing.T) {
	t.Parallel()
	const size = 10e6
	text, err := io.ReadAll(speech(seedTo, size))
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := sideBySide(t, lossy, func(t *testing.T, c *couple) {
		server, err := c.to.ListenPacket(t.Context(), "udp", at(toInside[0], 7))
		if err != nil {
			t.Fatal(err)
		}
		var serving sync.WaitGroup
		defer serving.Wait()
		defer server.Close()
		serving.Go(func() { serveChunks(server, text) })
		client, err := c.from.DialContext(t.Context(), "udp", at(toInside[0], 7))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		got, err := fetchChunks(client, size)
		if err != nil || sha256.Sum256(got) != sha256.Sum256(text) {
			t.Errorf("%d bytes arrived, with another SHA-256 than they were sent with (%v)", len(got), err)
		}
	})
	t.Logf("10 MB took %v, wireguard-go %v: %.2f times as long", ours, theirs, ours.Seconds()/theirs.Seconds())
}

// TestW19TCP prints how much TCP carries on that path in five seconds. It may
// be next to nothing, since it is TCP that waits; what comes is to be right.
func TestW19TCP(t *testing.T) {
	t.Parallel()
	const connections, lasts = 20, 5 * time.Second
	sideBySide(t, lossy, func(t *testing.T, c *couple) {
		ctx, cancel := context.WithTimeout(t.Context(), lasts)
		defer cancel()
		ln, err := c.to.Listen(ctx, "tcp", at(toInside[0], 9))
		if err != nil {
			t.Fatal(err)
		}
		var tasks sync.WaitGroup
		defer tasks.Wait()
		defer ln.Close()
		tasks.Go(func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				tasks.Go(func() { sayUntil(ctx, conn) })
			}
		})
		var got atomic.Int64
		var hearing sync.WaitGroup
		for range connections {
			hearing.Go(func() {
				conn, err := c.from.DialContext(ctx, "tcp", at(toInside[0], 9))
				if err != nil {
					return // it was not even connected in time
				}
				n, right := hearUntil(ctx, conn)
				if got.Add(n); !right {
					t.Error("other bytes came than were sent")
				}
			})
		}
		hearing.Wait()
		t.Logf("%d connections carried %d bytes in %v", connections, got.Load(), lasts)
	})
}

// sayUntil says a speech without an end.
func sayUntil(ctx context.Context, c net.Conn) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	_, _ = io.Copy(c, speech(seedTo, 1<<40)) // until it is closed
}

// hearUntil hears it, and compares.
func hearUntil(ctx context.Context, c net.Conn) (n int64, right bool) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	n, got, _ := digest(c) // until it is closed
	_, want, err := digest(speech(seedTo, n))
	return n, err == nil && got == want
}
