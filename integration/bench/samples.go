package main

import (
	"math"
	"slices"
	"sync"
	"time"
)

// samples collects measurements of several goroutines.
type samples struct {
	mu   sync.Mutex
	seen []float64 // guarded by mu; in seconds
}

func (s *samples) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, d.Seconds())
}

func (s *samples) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

func (s *samples) quantiles() quantiles {
	s.mu.Lock()
	defer s.mu.Unlock()
	return quantiles{Count: len(s.seen), P50: quantile(s.seen, 0.5), P99: quantile(s.seen, 0.99)}
}

// quantile is the smallest value that a share q of the values does not exceed, and 0 of none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// median is the middle of the values, or the mean of the two middle ones.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
