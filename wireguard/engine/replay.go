package engine

// The sliding window of RFC 6479: a ring of words that moves without shifting
// bits. One word is always the one being filled, so 64 counters less than the
// bits are usable.
const (
	windowWords = 8192 / 64
	// WindowSize is how far below the largest counter one may still arrive.
	WindowSize = (windowWords - 1) * 64
)

// window remembers which counters were received. The zero value accepts any.
// It is only shown counters of authenticated messages: a forged one must not
// move it.
type window struct {
	next uint64 // the largest counter received, plus 1
	ring [windowWords]uint64
}

// accept reports whether counter is new and allowed, and marks it.
func (w *window) accept(counter uint64) bool {
	if counter >= RejectAfterMessages {
		return false
	}
	counter++ // 0 is then free to mean "none yet" in next
	if counter+WindowSize < w.next {
		return false
	}
	word := counter / 64
	if counter > w.next {
		top := w.next / 64
		for i := range min(word-top, windowWords) {
			w.ring[(top+i+1)%windowWords] = 0
		}
		w.next = counter
	}
	slot, bit := &w.ring[word%windowWords], uint64(1)<<(counter%64)
	seen := *slot&bit != 0
	*slot |= bit
	return !seen
}
