package kernel

import (
	"bufio"
	"fmt"
	"io"
	"testing"
	"time"
)

// rekeyAfter is Rekey-After-Time less a second, as the kernel tells the time
// of a handshake in whole ones.
const rekeyAfter = 119 * time.Second

// testRekey: with data each second the session is replaced twice, in real
// time, never early, and no line of a TCP connection is lost on the way.
func testRekey(t *testing.T, l *lab) {
	for _, caller := range []caller{ours, kernels} {
		t.Run(fmt.Sprintf("call is %s", caller), func(t *testing.T) {
			t.Parallel()
			tn := l.tunnel(t, options{caller: caller, preshared: true})
			if caller == kernels {
				tn.pinged(t, tn.near[0], 1)
			}
			c := tn.dial(t, tn.far[1])
			echo := bufio.NewReader(c)
			last := tn.dump(t).LatestHandshake
			deadline := time.Now().Add(2*rekeyAfter + patience)
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for line, rekeys := 0, 0; rekeys < 2; line++ {
				<-tick.C
				if time.Now().After(deadline) {
					t.Fatalf("%d new handshakes in %d s, want 2", rekeys, line)
				}
				want := fmt.Sprintf("line %d\n", line)
				if _, err := io.WriteString(c, want); err != nil {
					t.Fatal(err)
				}
				if got, err := echo.ReadString('\n'); err != nil || got != want {
					t.Fatalf("sent %q and got %q back: %v", want, got, err)
				}
				d := tn.dump(t)
				if d.LatestHandshake.Equal(last) {
					continue
				}
				age := d.LatestHandshake.Sub(last)
				t.Logf("after line %d a new handshake, %v behind the last: %+v", line, age, d)
				if age < rekeyAfter {
					t.Errorf("a new handshake after %v, want %v at least", age, rekeyAfter)
				}
				last = d.LatestHandshake
				rekeys++
			}
			d := tn.agree(t)
			t.Logf("in the end: %+v, %d TCP segments of ours sent again", d, tn.net.Stats().TCPRetransmits)
		})
	}
}
