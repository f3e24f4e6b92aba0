package main

import "time"

// path is what both directions of a relay do to datagrams. The zero value carries all of them, at once and in order.
type path struct {
	// Delay is the time on the way, half of a round trip.
	Delay time.Duration
	// Rate is in bits a second, headers of IP and UDP included, 0 for no limit. What would have to wait longer than Queue
	// at the bottleneck is lost.
	Rate  float64
	Queue time.Duration
	// Loss is the share that is lost.
	Loss float64
	// Late is the share that comes LateBy later, so that others overtake it.
	Late   float64
	LateBy time.Duration
}
