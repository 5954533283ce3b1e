package load

import (
	"syscall"
	"time"
)

// sleep stops the calling thread. The runtime's timers are exact to a millisecond while nothing else happens, in which eight messages
// of 8,000 a second would gather; the kernel's to some 50 us. It may return early, after a signal.
func sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil) // fails only by a signal
}
