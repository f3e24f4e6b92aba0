package wireguard

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wimble-proxy/wimble/wireguard/engine"
)

// bootClock reads CLOCK_BOOTTIME, which counts suspend. Go's own monotonic
// clock stands still meanwhile, and a tunnel on it is dead for minutes after a
// laptop wakes.
func bootClock() func() engine.Time {
	return func() engine.Time {
		var t unix.Timespec
		// Why the runtime is not told, see inbox.receive.
		if _, _, err := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&t)), 0); err != 0 {
			panic("wireguard: the kernel has no CLOCK_BOOTTIME: " + err.Error())
		}
		return engine.Time{Boot: time.Duration(t.Nano()), Wall: time.Now()}
	}
}
