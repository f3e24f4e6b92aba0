package interop

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestW21BlackHole: a path swallows what is larger than it takes, and nobody is
// told. With an MTU of the tunnel that is 60 bytes smaller at one end alone, a
// transfer of a megabyte each way completes: the other end learns it from TCP.
func TestW21BlackHole(t *testing.T) {
	t.Parallel()
	for _, largest := range []int{1280, 1300, 1420} {
		t.Run(fmt.Sprint(largest), func(t *testing.T) {
			eachPair(t, func(t *testing.T, from, to implementation) {
				const outer = 20 + 8 // IPv4 and UDP
				c := impaired(t, from, to, union{mtu: largest - outer - 32}, path{largest: largest - outer})
				exchange(t, c.from, c.to, at(toInside[0], 9), 1<<20)
			})
		})
	}
}

// TestW21Unprepared prints what happens with the default MTU: small packets
// pass, and large ones never do.
func TestW21Unprepared(t *testing.T) {
	t.Parallel()
	sideBySide(t, path{largest: 1300 - 28}, func(t *testing.T, c *couple) {
		const lasts = 3 * time.Second
		ping(t, c.from, toInside[0].Addr())
		ctx, cancel := context.WithTimeout(t.Context(), lasts)
		defer cancel()
		ln, err := c.to.Listen(ctx, "tcp", at(toInside[0], 9))
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		var saying sync.WaitGroup
		defer saying.Wait()
		saying.Go(func() {
			if conn, err := ln.Accept(); err == nil {
				sayUntil(ctx, conn)
			}
		})
		conn, err := c.from.DialContext(ctx, "tcp", at(toInside[0], 9))
		if err != nil {
			t.Errorf("small packets do not pass either: %v", err)
			return
		}
		n, right := hearUntil(ctx, conn)
		if !right {
			t.Error("other bytes came than were sent")
		}
		t.Logf("with an MTU of 1420 over a path of 1300 TCP got %d bytes in %v", n, lasts)
	})
}
