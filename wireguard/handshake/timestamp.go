package handshake

import (
	"bytes"
	"encoding/binary"
	"time"
)

// Timestamp is a TAI64N label: seconds and nanoseconds, big-endian, which makes
// the order of bytes the order of time (whitepaper, section 5.1). A responder
// takes a peer's initiation only with a greater one than all before.
type Timestamp [12]byte

const (
	// tai64Epoch is the label of 1970-01-01 00:00:00 UTC, when TAI was ten
	// seconds ahead. Leap seconds since then are left out.
	tai64Epoch = 0x4000_0000_0000_000a

	// whitening is the grain of our timestamps in nanoseconds, 16.8 ms: as
	// fine as a responder takes initiations, which is 20 ms, and too coarse
	// to tell anyone about our clock.
	whitening = 1 << 24
)

// TimestampAt is the label of wall, rounded down to a multiple of 2^24
// nanoseconds within its second.
func TimestampAt(wall time.Time) Timestamp {
	return newTimestamp(tai64Epoch+uint64(wall.Unix()), uint64(wall.Nanosecond()))
}

func newTimestamp(seconds, nanoseconds uint64) (t Timestamp) {
	binary.BigEndian.PutUint64(t[:8], seconds)
	binary.BigEndian.PutUint32(t[8:], uint32(nanoseconds)&^(whitening-1))
	return t
}

// After reports whether t is greater than u. Any bytes are a timestamp, also
// such as are no TAI64N label: peers differ in what they send.
func (t Timestamp) After(u Timestamp) bool {
	return bytes.Compare(t[:], u[:]) > 0
}

// Next is the least of our timestamps that is after t, for a clock that stands
// still or was set back.
func (t Timestamp) Next() Timestamp {
	seconds := binary.BigEndian.Uint64(t[:8])
	nanoseconds := uint64(binary.BigEndian.Uint32(t[8:])) + whitening
	if nanoseconds >= uint64(time.Second) {
		seconds, nanoseconds = seconds+1, 0
	}
	return newTimestamp(seconds, nanoseconds)
}
