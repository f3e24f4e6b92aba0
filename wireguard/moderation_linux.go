package wireguard

import (
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// restRate is how many messages a second are worth a rest: half of them
	// or more share a wake-up then. Below it nobody would wait for company.
	restRate = 20_000

	// restWindow is how long messages are counted to know their rate.
	restWindow = time.Millisecond

	// restTime is how long a rest is. The kernel makes it up to twice as long
	// (PR_SET_TIMERSLACK of prctl(2)); that is as long as a network card with
	// its interrupts moderated holds a packet.
	restTime = 50 * time.Microsecond

	// A rest of longRest is one that somebody else had the processor in. So
	// many in a row are what the kernel makes of every rest, without fine
	// timers: there is none for restPause then, lest the queue overflow.
	longRest     = 2 * time.Millisecond
	maxLongRests = 3
	restPause    = time.Second
)

// moderator does for a socket what interrupt moderation does for a network
// card. From a peer whose datagrams come singly and fast each would cost a
// wake-up, a system call to receive it, one to acknowledge it and one to hand
// its bytes on, which is far more than to decrypt it. So who emptied the queue
// of such a socket rests before he looks again, and finds several.
//
// A message that comes alone never waits: there are rests only while messages
// come faster than restRate, and none after another in which nothing came.
type moderator struct {
	began time.Time // of the present window
	count int       // of messages in it
	fast  bool      // the last whole window's rate was restRate or more
	empty bool      // nothing came since rests was asked last
	long  int       // so many of the last rests took longRest
	until time.Time // there is no rest before
}

// got notes n messages.
func (m *moderator) got(n int) {
	m.count += n
	m.empty = false
}

// rests tells whether to rest now that the queue is empty.
func (m *moderator) rests(now time.Time) bool {
	if window := now.Sub(m.began); window >= restWindow {
		m.fast = float64(m.count) >= restRate*window.Seconds()
		m.began, m.count = now, 0
	}
	rests := m.fast && !m.empty && !now.Before(m.until)
	m.empty = true
	return rests
}

// rested notes how a rest went.
func (m *moderator) rested(from, to time.Time) {
	if to.Sub(from) < longRest {
		m.long = 0
	} else if m.long++; m.long == maxLongRests {
		m.long, m.until = 0, to.Add(restPause)
	}
}

// rest lets everybody else work and then lets the processor sleep, from and to
// the times it returns. The runtime is not told: to wake its monitor is what a
// rest is to save, and nobody was waiting for the processor.
func rest() (from, to time.Time) {
	runtime.Gosched()
	from = time.Now()
	t := unix.NsecToTimespec(int64(restTime))
	unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0)
	return from, time.Now()
}
