package wireguard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wimble-proxy/wimble/wireguard/engine"
)

// failingConn is a socket whose calls fail while it is told to.
type failingConn struct {
	PacketConn
	reads, writes atomic.Int64 // how often they were called

	mu          sync.Mutex
	read, write error // guarded by mu: what every call returns, nil to work
}

func (c *failingConn) fail(read, write error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read, c.write = read, write
}

func (c *failingConn) failure() (read, write error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read, c.write
}

func (c *failingConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	c.reads.Add(1)
	if err, _ := c.failure(); err != nil {
		return 0, netip.AddrPort{}, &net.OpError{Op: "read", Net: "udp4", Err: os.NewSyscallError("recvmsg", err)}
	}
	return c.PacketConn.ReadFromUDPAddrPort(b)
}

func (c *failingConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	c.writes.Add(1)
	if _, err := c.failure(); err != nil {
		return 0, &net.OpError{Op: "write", Net: "udp4", Err: os.NewSyscallError("sendmsg", err)}
	}
	return c.PacketConn.WriteToUDPAddrPort(b, to)
}

// wrapped returns a ListenPacket that puts something around the sockets of
// another.
func wrapped(
	listen func(context.Context, string, string) (PacketConn, error), wrap func(PacketConn) PacketConn,
) func(context.Context, string, string) (PacketConn, error) {
	return func(ctx context.Context, network, address string) (PacketConn, error) {
		c, err := listen(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return wrap(c), nil
	}
}

// around is a wrap for wrapped.
func (c *failingConn) around(inner PacketConn) PacketConn {
	c.PacketConn = inner
	return c
}

// failingPair is a running pair whose first side has a failingConn.
func failingPair(t *testing.T) (a, b *side, conn *failingConn) {
	t.Helper()
	n := newMemNet()
	conn = new(failingConn)
	sides := pairOf(t, n, &testClock{start: time.Now()}, func(i int, c *Config) {
		if i == 0 {
			c.ListenPacket = wrapped(c.ListenPacket, conn.around)
		}
	})
	run(t, sides[:]...)
	synctest.Wait()
	return sides[0], sides[1], conn
}

// TestW22SendErrors: the system refuses every send for a while. Each packet is
// counted and costs one call, the handshake keeps its pace, and afterwards
// everything works as before.
func TestW22SendErrors(t *testing.T) {
	for _, errno := range []syscall.Errno{
		syscall.EPERM, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EMSGSIZE, syscall.ENOBUFS,
		syscall.ECONNREFUSED, syscall.EAGAIN, syscall.EIO,
	} {
		for _, session := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				a, b, conn := failingPair(t)
				if session {
					a.send(t, b, 1, 84)
					synctest.Wait()
				}
				arrived := b.received()
				conn.fail(nil, errno)
				conn.writes.Store(0)
				const seconds = 10
				for range seconds {
					a.send(t, b, 3, 84)
					time.Sleep(time.Second)
				}
				// Without a session two initiations; with one the packets, and no
				// initiation before a peer is missed for 15 s.
				writes, dropped := conn.writes.Load(), a.Drops()["transmit"]
				want := int64(2)
				if session {
					want = 3 * seconds
				}
				if writes != want {
					t.Errorf("%v, session %t: %d sends in %d s, want %d", errno, session, writes, seconds, want)
				}
				if dropped == 0 || b.received() != arrived {
					t.Errorf("%v, session %t: dropped %v and %d arrived", errno, session, a.Drops(), b.received()-arrived)
				}
				conn.fail(nil, nil)
				time.Sleep(engine.RekeyTimeout + 500*time.Millisecond)
				before := b.received()
				a.send(t, b, 1, 84)
				synctest.Wait()
				if b.received() != before+1 {
					t.Errorf("%v, session %t: afterwards the packet did not arrive", errno, session)
				}
			})
		}
	}
}

// TestW22ReceiveErrors: every read fails for ten seconds. The receiver waits
// longer and longer, up to a second, and goes on when it can.
func TestW22ReceiveErrors(t *testing.T) {
	for _, errno := range []syscall.Errno{
		syscall.ECONNREFUSED, syscall.ENOBUFS, syscall.ENOMEM, syscall.EIO, syscall.EAGAIN, syscall.EINTR,
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b, conn := failingPair(t)
			a.send(t, b, 1, 84)
			synctest.Wait()
			conn.fail(errno, nil)
			b.send(t, a, 1, 84) // ends the read that waits
			synctest.Wait()
			conn.reads.Store(0)
			time.Sleep(10 * time.Second)
			// Pauses of 1, 2, 4 ... 512 ms make a second, and 9 more follow.
			if reads := conn.reads.Load(); reads < 10 || reads > 20 {
				t.Errorf("%v: %d reads in 10 s, want about 19", errno, reads)
			}
			conn.fail(nil, nil)
			time.Sleep(maxReadBackoff)
			before := a.received()
			b.send(t, a, 1, 84)
			synctest.Wait()
			if a.received() != before+1 {
				t.Errorf("%v: afterwards the packet did not arrive", errno)
			}
		})
	}
}

// TestW22ErrorsBetweenDatagrams: each datagram comes with an error before it,
// as where ICMP answers are reported. None is lost.
func TestW22ErrorsBetweenDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const packets = 200
		a, b, conn := failingPair(t)
		a.send(t, b, 1, 84)
		synctest.Wait()
		for range packets {
			conn.fail(syscall.ECONNREFUSED, nil)
			b.send(t, a, 1, 84)
			synctest.Wait() // the datagram ends a read, the next one fails
			conn.fail(nil, nil)
			time.Sleep(2 * time.Millisecond)
		}
		if a.received() != packets {
			t.Errorf("%d of %d packets arrived", a.received(), packets)
		}
	})
}

// TestW22Close: Run ends within a second while everything fails, and leaves no
// error of its own.
func TestW22Close(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := new(failingConn)
		conn.fail(syscall.ENOBUFS, syscall.EPERM)
		n := newMemNet()
		sides := pairOf(t, n, &testClock{start: time.Now()}, func(i int, c *Config) {
			if i == 0 {
				c.ListenPacket = wrapped(c.ListenPacket, conn.around)
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- sides[0].Run(ctx) }()
		<-sides[0].Ready()
		sides[0].send(t, sides[1], 1, 84)
		time.Sleep(30 * time.Second)
		start := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// TestRunWithoutSockets: no socket at all is an error at once, which says why.
func TestRunWithoutSockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sides := pairOf(t, newMemNet(), &testClock{start: time.Now()}, func(_ int, c *Config) {
			c.ListenPacket = func(_ context.Context, network, _ string) (PacketConn, error) {
				return nil, &net.OpError{Op: "listen", Net: network, Err: syscall.EMFILE}
			}
		})
		if err := sides[0].Run(t.Context()); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("Run: %v, want EMFILE", err)
		}
	})
}
