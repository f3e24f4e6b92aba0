package netstack

import (
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// controlOf is the congestion control that a connection has.
func controlOf(t *testing.T, c *TCPConn) (now tcpip.CongestionControlOption) {
	t.Helper()
	if err := c.ep.GetSockOpt(&now); err != nil {
		t.Fatal(err)
	}
	return now
}

func TestCongestionControl(t *testing.T) {
	for _, c := range []struct {
		roundTrip time.Duration
		want      tcpip.CongestionControlOption
	}{{time.Millisecond, reno}, {nearby, reno}, {nearby + 1, cubic}, {0, cubic}} {
		if got := controlFor(c.roundTrip); got != c.want {
			t.Errorf("%v: %s, want %s", c.roundTrip, got, c.want)
		}
	}
	for _, configured := range []tcpip.CongestionControlOption{cubic, reno} {
		p := newPair(t)
		p.left.congestion, p.right.congestion = configured, configured
		dialed, accepted := p.connect(t, right4)
		if got, other := controlOf(t, dialed), controlOf(t, accepted); got != configured || other != configured {
			t.Errorf("%s and %s, configured %s", got, other, configured)
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

// Without a configured one the round trip of the handshake decides, for both ends.
func TestCongestionControlByRoundTrip(t *testing.T) {
	for _, c := range []struct {
		roundTrip time.Duration
		want      tcpip.CongestionControlOption
	}{{nearby, reno}, {2 * nearby, cubic}} {
		clock, option := manualClock()
		p := newPair(t, option)
		late := func(flags header.TCPFlags) func([]byte) []byte {
			return func(packet []byte) []byte {
				if s, err := segment(packet); err == nil && s.Flags() == flags {
					clock.Advance(c.roundTrip)
				}
				return packet
			}
		}
		p.fromRight.set(func() { p.fromRight.edit = late(header.TCPFlagSyn | header.TCPFlagAck) })
		dialed, accepted := p.connect(t, right4)
		if got, other := controlOf(t, dialed), controlOf(t, accepted); got != c.want || other != c.want {
			t.Errorf("%v: %s for who dialed and %s for who accepted, want %s", c.roundTrip, got, other, c.want)
		}
	}
}
