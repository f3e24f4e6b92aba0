package main

import "time"

// row is one line of work for clients, and what is made of it.
type row struct {
	name string
	setting
	work
	clients []client // ours first
	figures []figure
	// fresh says that each slice starts a pair anew.
	fresh bool
	// few slices have to do, because each takes long.
	few bool
	// point is for a row that is part of a plot.
	point *point
	// baseline says that a pair without idlePeers is looked at too.
	baseline bool
	// settles says that the clock waits until memory was given time to settle.
	settles bool
}

// sample is what one slice gave.
type sample struct {
	result
	row      *row
	first    time.Duration
	size     int64
	baseline int64 // memory of the pair without idle peers
}

// figure is what is read from a sample.
type figure struct {
	name, unit string
	of         func(s sample) float64
	goals      []goal
}

// goal is what a figure should reach.
type goal struct {
	// against is whose figure ours is divided by; "" is the figure itself.
	against client
	// limit must be reached, aim would be better; above tells on which side.
	limit, aim float64
	above      bool
}

// reached reports whether a figure, or a ratio, is good enough.
func (g goal) reached(value float64) bool {
	if g.above {
		return value >= g.limit
	}
	return value <= g.limit
}

// atMost and the like are goals.
func atMost(limit float64, against client) goal { return goal{against: against, limit: limit} }

func atLeast(limit float64, against client) goal {
	return goal{against: against, limit: limit, above: true}
}

func (g goal) aiming(at float64) goal {
	g.aim = at
	return g
}

const (
	gigabyte = 1e9
	mebibyte = 1 << 20
	kibibyte = 1 << 10
	megabit  = 1e6 / 8
)

func cpuPerGB(goals ...goal) figure {
	return figure{"CPU", "s/GB", func(s sample) float64 { return s.CPU / (float64(s.Bytes) / gigabyte) }, goals}
}

func throughput(goals ...goal) figure {
	return figure{"throughput", "Mbit/s", func(s sample) float64 { return float64(s.Bytes) / s.Seconds / megabit }, goals}
}

func ofLine(goals ...goal) figure {
	return figure{"of the line", "%", func(s sample) float64 { return 100 * float64(s.Bytes) * 8 / s.Seconds / s.row.path.Rate }, goals}
}

func requestP50(goals ...goal) figure {
	return figure{"request p50", "us", func(s sample) float64 { return s.Requests.P50 * 1e6 }, goals}
}

func requestP99(goals ...goal) figure {
	return figure{"request p99", "us", func(s sample) float64 { return s.Requests.P99 * 1e6 }, goals}
}

func connectionP50(goals ...goal) figure {
	return figure{"connection p50", "us", func(s sample) float64 { return s.Connections.P50 * 1e6 }, goals}
}

func connectionRate(goals ...goal) figure {
	return figure{"connections", "/s", func(s sample) float64 { return float64(s.Connections.Count) / s.Seconds }, goals}
}

func connectionCPU(goals ...goal) figure {
	return figure{"CPU each", "us", func(s sample) float64 { return s.CPU * 1e6 / float64(s.Connections.Count) }, goals}
}

func connectionsFailed() figure {
	return figure{"failed", "", func(s sample) float64 { return float64(s.Failed) }, nil}
}

func resident(goals ...goal) figure {
	return figure{"resident", "MiB", func(s sample) float64 { return float64(s.Memory) / mebibyte }, goals}
}

func residentPeak(goals ...goal) figure {
	return figure{"resident at most", "MiB", func(s sample) float64 { return float64(s.Peak) / mebibyte }, goals}
}

func perConnection(goals ...goal) figure {
	return figure{"each", "KiB", func(s sample) float64 { return float64(s.Memory-s.Before) / float64(s.row.Hold) / kibibyte }, goals}
}

func perPeer(goals ...goal) figure {
	return figure{"each", "KiB", func(s sample) float64 { return float64(s.Memory-s.baseline) / float64(s.row.idlePeers) / kibibyte }, goals}
}

func firstByte(goals ...goal) figure {
	return figure{"start to first byte", "ms", func(s sample) float64 { return s.first.Seconds() * 1e3 }, goals}
}

func binarySize(goals ...goal) figure {
	return figure{"stripped binary", "MiB", func(s sample) float64 { return float64(s.size) / mebibyte }, goals}
}
