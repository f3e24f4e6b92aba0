package forward

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// guard is far beyond what these tests take; it turns a hang into a failure.
const guard = 30 * time.Second

// expectReset reads from c until its stream breaks off.
func expectReset(t *testing.T, c net.Conn) {
	t.Helper()
	begin := time.Now()
	_ = c.SetReadDeadline(begin.Add(guard))
	_, err := io.Copy(io.Discard, c)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the other side reads %v, want a reset", err)
	}
	t.Logf("seen after %v", time.Since(begin))
}

// reset closes c so that its peer receives an RST.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

func TestResetIsPassedOn(t *testing.T) {
	for _, tt := range []struct {
		name    string
		reverse bool
	}{{"from the client", false}, {"from the target", true}} {
		t.Run(tt.name, func(t *testing.T) {
			client, nearClient := newTCPPair(t)
			target, nearTarget := newTCPPair(t)
			run := start(t.Context(), new(Relay), wrapped{nearClient}, nearTarget)
			write(t, client, "ping")
			expect(t, target, "ping")
			from, to := client, target
			if tt.reverse {
				from, to = target, client
			}
			reset(from)
			expectReset(t, to)
			if _, err := run.wait(t); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("Run: %v, want the reset", err)
			}
		})
	}
}

// TestAPartNeverLooksWhole ends a run from outside: a stream that has ended stays ended, one that has not is reset.
func TestAPartNeverLooksWhole(t *testing.T) {
	client, nearClient := newTCPPair(t)
	target, nearTarget := newTCPPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	run := start(ctx, new(Relay), nearClient, nearTarget)
	write(t, target, "all of it")
	target.CloseWrite()
	expect(t, client, "all of it")
	expectEOF(t, client)
	write(t, client, "a part")
	expect(t, target, "a part")
	cancel()
	<-run.done
	expectReset(t, target)
}
