package forward

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	defaultFlows = 1024
	defaultPing  = 10 * time.Second
	// defaultOneWay and defaultTwoWay are idle limits of UDP flows. RFC 4787, section 4.3, has two minutes at least, for
	// what is not obviously a question without an answer.
	defaultOneWay = 30 * time.Second
	defaultTwoWay = 180 * time.Second
)

// Gateway carries what the peers of a tunnel send to addresses outside of it to the network of the host, as its rules
// allow. A target is dialed before the peer is answered: one that refuses is refused to the peer, one that can't be reached
// can't be reached, and one that does not answer does not. The zero value allows nothing. It must not be copied, and its
// fields not changed, once it is in use.
type Gateway struct {
	// Allow are the targets that may be reached. Some addresses are so only by a rule for that one address: those of the
	// host itself (loopback, unspecified), link-local, multicast and broadcast ones, the metadata services of clouds, and
	// IPv6 addresses behind which there is an IPv4 address.
	Allow []Rule
	// Protected are targets that need such a rule too: the program's own listeners, the API of the cluster that it runs in.
	// Port 0 stands for every port; an unspecified address, of a listener on all addresses, for that port everywhere.
	Protected []netip.AddrPort

	// Dial connects to a target on the host. The network is tcp or udp, the address an IP address and a port. The context
	// has a deadline, and ends with the tunnel. It is called for allowed targets only, and must not look for others.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Ping sends an ICMP echo request with the data to a target on the host and returns nil when it is answered. It fails
	// with EACCES or EPERM if the system does not allow it. Nil allows none.
	Ping func(ctx context.Context, target netip.Addr, data []byte) error

	// DialTimeout is the time that Dial gets. 0 means 30 seconds, negative no limit.
	DialTimeout time.Duration
	// PingTimeout is the time that Ping gets. 0 means 10 seconds, negative no limit.
	PingTimeout time.Duration

	// MaxConns limits the TCP connections, those being dialed included, and MaxConnsPerSource those of one address of the
	// tunnel. Connections beyond are refused. 0 means 16384, and a quarter of the former.
	MaxConns, MaxConnsPerSource int
	// MaxFlows limits the UDP flows, and MaxFlowsPerSource those of one address of the tunnel. When one more comes, the one
	// that was not used for longest has to go. 0 means 1024, and a quarter of the former.
	MaxFlows, MaxFlowsPerSource int
	// OneWayTimeout ends a UDP flow that is idle and has had no answer, TwoWayTimeout one that had. 0 means 30 seconds, and
	// 180 seconds.
	OneWayTimeout, TwoWayTimeout time.Duration

	// Relay carries the data of TCP. nil means one of this Gateway's own, with the default limits.
	Relay *Relay
	// Logger gets a debug line for each flow, with its addresses, and is told of panics; nil discards.
	Logger *slog.Logger

	relay   Relay
	buffers pool // of datagrams
	conns   quota
	flows   table
	stats   gatewayCounters
}

// GatewayStats is what a Gateway has seen so far.
type GatewayStats struct {
	Denied      uint64 // flows and echo requests that no rule allows
	Excess      uint64 // connections for which there was no room
	Evicted     uint64 // UDP flows that had to go for others
	Failed      uint64 // flows whose target could not be reached, or refused
	Abandoned   uint64 // connections that the peer did not complete
	Dropped     uint64 // datagrams that were not taken, by flows that have ended
	Echoes      uint64 // echo requests answered
	EchoFailed  uint64 // echo requests that were allowed and not answered
	EchoRefused uint64 // echo requests that the system does not let us send
	Panics      uint64 // flows ended by a panic

	Up, Down int64 // bytes carried by flows that have ended, to and from targets

	Conns int // TCP connections now, those being dialed included
	Flows int // UDP flows now
}

// gatewayCounters are the cumulative ones of GatewayStats, under the same names.
type gatewayCounters struct {
	denied, excess, evicted, failed, abandoned, dropped, panics atomic.Uint64

	echoes, echoFailed, echoRefused atomic.Uint64

	up, down atomic.Int64
}

// Stats returns the counters. Each is exact, though not all are of the same instant.
func (g *Gateway) Stats() GatewayStats {
	return GatewayStats{
		Denied:      g.stats.denied.Load(),
		Excess:      g.stats.excess.Load(),
		Evicted:     g.stats.evicted.Load(),
		Failed:      g.stats.failed.Load(),
		Abandoned:   g.stats.abandoned.Load(),
		Dropped:     g.stats.dropped.Load(),
		Echoes:      g.stats.echoes.Load(),
		EchoFailed:  g.stats.echoFailed.Load(),
		EchoRefused: g.stats.echoRefused.Load(),
		Panics:      g.stats.panics.Load(),
		Up:          g.stats.up.Load(),
		Down:        g.stats.down.Load(),
		Conns:       g.conns.now(),
		Flows:       g.flows.now(),
	}
}
