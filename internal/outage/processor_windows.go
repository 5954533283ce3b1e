package outage

import (
	"syscall"
	"time"
)

// processor returns the processor time that this process has used.
func processor() time.Duration {
	self, _ := syscall.GetCurrentProcess() // cannot fail, nor can the next
	var created, ended, kernel, user syscall.Filetime
	_ = syscall.GetProcessTimes(self, &created, &ended, &kernel, &user)
	units := func(f syscall.Filetime) int64 { return int64(f.HighDateTime)<<32 | int64(f.LowDateTime) }
	return time.Duration(units(kernel)+units(user)) * 100 * time.Nanosecond
}
