package engine

import (
	"syscall"
	"unsafe"
)

// inFlightLocked asks the kernel how much of what it has accepted the peer's kernel has not confirmed.
func (c *wsConn) inFlightLocked() int {
	raw := c.raw
	if raw == nil {
		under := pollable(c.conn)
		if under == nil {
			return 0
		}
		raw = under.raw
	}
	var n int32
	var failed syscall.Errno
	err := raw.Control(func(fd uintptr) {
		// SIOCOUTQ of tcp(7) has the number of TIOCOUTQ.
		_, _, failed = syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	})
	if err != nil || failed != 0 {
		return 0
	}
	return int(n)
}
