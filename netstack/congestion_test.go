package netstack

import (
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

func TestCongestionControl(t *testing.T) {
	p := newPair(t)
	control := func(c *TCPConn) (now tcpip.CongestionControlOption) {
		if err := c.ep.GetSockOpt(&now); err != nil {
			t.Fatal(err)
		}
		return now
	}
	for _, c := range []struct {
		configured tcpip.CongestionControlOption
		roundTrip  time.Duration
		want       tcpip.CongestionControlOption
	}{
		{"", 20 * time.Millisecond, reno},
		{"", nearby, reno},
		{"", nearby + 1, cubic},
		{"", 0, cubic},
		{reno, time.Second, reno},
		{cubic, 20 * time.Millisecond, cubic},
	} {
		p.left.congestion = reno // what connect finds
		dialed, accepted := p.connect(t, right4)
		if got := control(accepted); got != cubic {
			t.Errorf("%s for a connection that was accepted, of which nothing is known", got)
		}
		p.left.congestion = c.configured
		if dialed.control(c.roundTrip); control(dialed) != c.want {
			t.Errorf("configured %q, %v: %s, want %s", c.configured, c.roundTrip, control(dialed), c.want)
		}
	}
}

// What a tunnel's configuration says is what its connections have.
func TestCongestionControlIsConfigured(t *testing.T) {
	a, _ := tunnels(t)
	for _, configured := range []string{"", "cubic", "reno"} {
		a.CongestionControl = configured
		n, err := Open(t.Context(), a, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		if string(n.congestion) != configured {
			t.Errorf("%q became %q", configured, n.congestion)
		}
	}
}

// The round trip of a dial is that of its handshake.
func TestCongestionControlOfDial(t *testing.T) {
	for _, c := range []struct {
		roundTrip time.Duration
		want      tcpip.CongestionControlOption
	}{{nearby, reno}, {2 * nearby, cubic}} {
		clock, option := manualClock()
		p := newPair(t, option)
		once := false
		p.fromLeft.set(func() {
			p.fromLeft.edit = func(packet []byte) []byte {
				if !once { // the SYN
					once = true
					clock.Advance(c.roundTrip)
				}
				return packet
			}
		})
		dialed, _ := p.connect(t, right4)
		var got tcpip.CongestionControlOption
		if err := dialed.ep.GetSockOpt(&got); err != nil || got != c.want {
			t.Errorf("%v: %s, %v; want %s", c.roundTrip, got, err, c.want)
		}
	}
}
