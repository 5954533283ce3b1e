package server

import "syscall"

// switches tells how often the kernel has taken its processor from a thread, and how often the thread has given it up to wait.
type switches struct{ taken, given int64 }

// rusageThread is RUSAGE_THREAD of getrusage(2).
const rusageThread = 1

func threadSwitches() switches {
	var u syscall.Rusage
	_ = syscall.Getrusage(rusageThread, &u)
	return switches{taken: int64(u.Nivcsw), given: int64(u.Nvcsw)} // 32 bits on some systems
}
