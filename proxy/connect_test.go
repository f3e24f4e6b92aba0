package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// errno is a dial error as package net and the netstack make it.
func errno(e syscall.Errno) error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", e)}
}

// TestS14 is the table of reply codes, but for those of TestDialogues (07, 08) and TestMaxConns (01).
func TestS14(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want byte
	}{
		{"EMFILE", errno(syscall.EMFILE), 1},
		{"no ports left", errno(syscall.EADDRNOTAVAIL), 1},
		{"error that only says refused", errors.New("connection refused"), 1},
		{"rule", fmt.Errorf("metadata address: %w", os.ErrPermission), 2},
		{"EACCES", errno(syscall.EACCES), 2},
		{"EPERM", errno(syscall.EPERM), 2},
		{"ENETUNREACH", errno(syscall.ENETUNREACH), 3},
		{"ENETDOWN", errno(syscall.ENETDOWN), 3},
		{"EHOSTUNREACH", errno(syscall.EHOSTUNREACH), 4},
		{"EHOSTDOWN", errno(syscall.EHOSTDOWN), 4},
		{"NXDOMAIN", &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}, 4},
		{"DNS time-out", &net.DNSError{Err: "timeout", UnwrapErr: context.DeadlineExceeded, Name: "x", IsTimeout: true}, 4},
		{"no resolver", &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "names need DNS in the tunnel", Name: "x"}}, 4},
		{"ECONNREFUSED", errno(syscall.ECONNREFUSED), 5},
		{"ECONNRESET", errno(syscall.ECONNRESET), 5},
		{"ETIMEDOUT", errno(syscall.ETIMEDOUT), 6},
		{"deadline of the context", fmt.Errorf("dial: %w", context.DeadlineExceeded), 6},
		{"deadline of a connection", os.ErrDeadlineExceeded, 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, Config{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, tt.err }})
				defer s.end(t)
				c := s.connect()
				defer c.Close()
				send(c, hello+toV4)
				expect(t, c, welcome+failure(tt.want))
				expectEnd(t, c, time.Second)
				if got := s.Stats().Replies[tt.want]; got != 1 {
					t.Errorf("%d replies %02x counted, want 1", got, tt.want)
				}
			})
		})
	}
}

func TestDialHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Config{Dial: hang})
		defer s.end(t)
		c := s.connect()
		defer c.Close()
		begin := time.Now()
		send(c, hello+toV4)
		expect(t, c, welcome+failure(6))
		if took := time.Since(begin); took != 30*time.Second {
			t.Errorf("reply after %v, want 30s", took)
		}
		c.Close()
	})
}

// noise returns size bytes that depend on seed.
func noise(seed byte, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// earlySizes are around the sizes of the buffers on the way, and then large.
var earlySizes = []int{1, 1000, 4095, 4096, 4097, 70_000, 1 << 20}

// TestS15 has data right behind the request while the dial takes a second: it must arrive once and in order.
func TestS15(t *testing.T) {
	for _, size := range earlySizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				far := make(chan *memConn, 1)
				s := serve(t, Config{Dial: func(context.Context, string, string) (net.Conn, error) {
					time.Sleep(time.Second)
					near, target := newMemPair()
					far <- target
					return near, nil
				}})
				defer s.end(t)
				c := s.connect()
				defer c.Close()
				early, later := noise(5, size), "later"
				go func() {
					_, _ = c.Write(append([]byte(hello+toV4), early...))
					_, _ = io.WriteString(c, later)
					_ = c.CloseWrite()
				}()
				expect(t, c, welcome+success4)
				target := <-far
				got, err := io.ReadAll(target)
				if want := append(early, later...); !bytes.Equal(got, want) || err != nil {
					t.Errorf("seed 5: the target read %d bytes with sha256 %x, error %v; want %d with %x",
						len(got), sha256.Sum256(got), err, len(want), sha256.Sum256(want))
				}
				target.Close()
				expectEnd(t, c, time.Second)
			})
		})
	}
}

// TestS15Refused has the same, but no target: the client must be able to write all of it and read the reply.
func TestS15Refused(t *testing.T) {
	for _, size := range earlySizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, Config{Dial: func(context.Context, string, string) (net.Conn, error) {
					time.Sleep(time.Second)
					return nil, errno(syscall.ECONNREFUSED)
				}})
				defer s.end(t)
				c := s.connect()
				defer c.Close()
				written := make(chan error, 1)
				go func() {
					_, err := c.Write(append([]byte(hello+toV4), noise(6, size)...))
					written <- err
				}()
				expect(t, c, welcome+failure(5))
				expectEnd(t, c, time.Second)
				if err := <-written; err != nil {
					t.Errorf("write early data: %v", err)
				}
			})
		})
	}
}

// TestRefusedClientCanNotStay has a client that goes on sending after its refusal.
func TestRefusedClientCanNotStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Config{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errno(syscall.ECONNREFUSED) }})
		defer s.end(t)
		c := s.connect()
		defer c.Close()
		send(c, hello+toV4)
		expect(t, c, welcome+failure(5))
		begin := time.Now()
		for {
			if _, err := c.Write([]byte("more")); err != nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(begin); took > lingerTimeout+time.Second {
			t.Errorf("could go on for %v, want %v", took, lingerTimeout)
		}
	})
}

// TestS30 has clients that leave while their dial hangs.
func TestS30(t *testing.T) {
	const clients = 1000
	synctest.Test(t, func(t *testing.T) {
		cancelled := make(chan error, clients)
		s := serve(t, Config{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			cancelled <- context.Cause(ctx)
			return nil, ctx.Err()
		}})
		defer s.end(t)
		begin := time.Now()
		for range clients {
			c := s.connect()
			send(c, hello+toV4)
			expect(t, c, welcome)
			synctest.Wait()
			_ = c.Close()
		}
		for range clients {
			if err := <-cancelled; err != errLeft {
				t.Errorf("the dial's context ended with %v, want %v", err, errLeft)
			}
		}
		synctest.Wait()
		if took := time.Since(begin); took > time.Second {
			t.Errorf("all dials ended after %v, want within 1s", took)
		}
		if got := s.Stats(); got.Abandoned != clients || got.Conns != 0 {
			t.Errorf("%d clients counted as abandoned, %d still there; want %d and 0", got.Abandoned, got.Conns, clients)
		}
	})
}

// TestLateTargetIsClosed has a dialer that connects although its context has ended.
func TestLateTargetIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := newMemPair()
		s := serve(t, Config{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return near, nil
		}})
		defer s.end(t)
		c := s.connect()
		send(c, hello+toV4)
		expect(t, c, welcome)
		_ = c.Close()
		expectEnd(t, far, time.Second)
	})
}

// TestHalfClosedDuringDial has a client that says all it has to say and ends its stream before the reply. It looks like
// one that left, but has early data: that must arrive, and the answer too.
func TestHalfClosedDuringDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Config{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(time.Second):
				return echo(ctx, network, address)
			}
		}})
		defer s.end(t)
		c := s.connect()
		defer c.Close()
		go func() {
			_, _ = io.WriteString(c, hello+toV4+"question")
			_ = c.CloseWrite()
		}()
		expect(t, c, welcome+success4+"question")
		expectEnd(t, c, time.Second)
	})
}
