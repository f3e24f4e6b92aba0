//go:build unix

package forward

import (
	"errors"
	"os"
	"testing"
	"time"
)

// TestResetBehindAStuckWrite resets a client whose data the target does not take: the run does not read from the client
// at that time, and must see the reset all the same.
func TestResetBehindAStuckWrite(t *testing.T) {
	client, nearClient := newTCPPair(t)
	target, nearTarget := newTCPPair(t)
	run := start(t.Context(), new(Relay), nearClient, nearTarget)

	// The client writes until nothing went for a while: every buffer on the way is full.
	chunk := make([]byte, largeSize)
	for {
		_ = client.SetWriteDeadline(time.Now().Add(stallCheck / 2))
		_, err := client.Write(chunk)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	reset(client)
	if _, err := run.wait(t); err == nil {
		t.Error("Run ended without an error after a reset")
	}
	expectReset(t, target)
}
