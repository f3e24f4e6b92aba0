package netstack

import (
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// The congestion controls that the stack has.
const (
	reno  tcpip.CongestionControlOption = "reno"
	cubic tcpip.CongestionControlOption = "cubic"
)

// nearby is the longest round trip at the beginning of a connection for which
// Reno is the better choice. Of the segments that CUBIC (RFC 9438, section 5)
// and Reno have under way with a loss rate p, Reno's are more if p is above
// RTT^3/1.8 s^3: one in 8000 at this round trip. The stack's CUBIC is behind
// that besides, as it forgets at each acknowledgement what is no whole segment.
const nearby = 60 * time.Millisecond

// control chooses the congestion control of a connection on which nothing was
// sent yet, as setting it begins anew. Reno is the stack's default.
func (c *TCPConn) control() {
	chosen := c.net.congestion
	if chosen == "" {
		var info tcpip.TCPInfoOption
		_ = c.ep.GetSockOpt(&info) // fails for no connection
		chosen = controlFor(info.RTT)
	}
	if chosen == cubic {
		_ = c.ep.SetSockOpt(&chosen) // the stack has it
	}
}

// controlFor is the better choice for a round trip, as the handshake took it; 0
// if it is not known.
func controlFor(roundTrip time.Duration) tcpip.CongestionControlOption {
	if roundTrip > 0 && roundTrip <= nearby {
		return reno
	}
	return cubic
}
