package main

import (
	"net/netip"
	"time"
)

// work is what the load generator does with one client. What comes first is done before the clock runs; the rest runs
// at the same time while it does.
type work struct {
	// Via are the SOCKS5 listeners, which take turns; none for a client that is a network interface.
	Via []netip.AddrPort
	// Target is the far end with the first of its ports.
	Target netip.AddrPort
	// PID is the client, whose CPU and memory count.
	PID int
	// Profile has the client begin a profile when the clock does, and end it: the path without ".cpu" and ".heap", or ""
	// for none.
	Profile string

	// Short connections are made and closed first; Hold are made and left alone; Stall are sources that nobody reads.
	Short, Hold, Stall int
	// Warm is how long all below runs before the clock does, and Time how long it does.
	Warm, Time time.Duration

	// Download and Upload are streams, and Rate bytes a second over all of them, 0 for what goes.
	Download, Upload, Rate int
	// Requests sends small requests on one open connection, one after the other.
	Requests bool
	// Workers make connections, use each for one small request, and close it.
	Workers int
}

// result is what was seen while the clock ran.
type result struct {
	Seconds float64
	// CPU is the client's, in seconds.
	CPU float64
	// Bytes arrived, in both directions, without what requests carry.
	Bytes int64
	// Requests were answered, each after the time of P50 and P99 at most, in seconds.
	Requests quantiles
	// Connections were made and answered.
	Connections quantiles
	// Memory is the client's at the end, Before was at the beginning, and Peak the most since it started, in bytes.
	Before, Memory, Peak int64
	// Failed connections are counted once the clock runs.
	Failed int64
	Error  string `json:",omitempty"`
}

// quantiles are of Count measurements, in seconds.
type quantiles struct {
	Count    int
	P50, P99 float64
}
