package engine

import (
	"os"
	"syscall"
	"time"
	"unsafe"
)

// lookTime is how often somebody looks at a leader that is at its queue.
const lookTime = 2 * time.Millisecond

// stuckAlarm tells whether a leader has to be looked at. It is a timer of the kernel: a timer of the runtime that is set for each queue
// and seldom goes off would wake a thread each time that the first of them was due, and goes off late while all processors are busy.
type stuckAlarm struct {
	file    *os.File // which the runtime watches
	raw     syscall.RawConn
	on, off func(fd uintptr) // made once: each use would be an allocation
}

// timerSpec is struct itimerspec.
type timerSpec struct{ interval, value syscall.Timespec }

func newStuckAlarm() (*stuckAlarm, error) {
	const monotonicClock = 1 // CLOCK_MONOTONIC
	fd, _, errno := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, monotonicClock, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		return nil, errno
	}
	a := &stuckAlarm{file: os.NewFile(fd, "timer")}
	raw, err := a.file.SyscallConn()
	if err != nil {
		_ = a.file.Close()
		return nil, err
	}
	a.raw = raw
	every := syscall.NsecToTimespec(int64(lookTime))
	a.on = setTimer(&timerSpec{interval: every, value: every})
	a.off = setTimer(new(timerSpec))
	return a, nil
}

func setTimer(spec *timerSpec) func(fd uintptr) {
	return func(fd uintptr) {
		_, _, _ = syscall.RawSyscall6(syscall.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(spec)), 0, 0, 0)
	}
}

// set lets the alarm go off every lookTime from now on, stop ends that. Neither does anything after close.
func (a *stuckAlarm) set()  { _ = a.raw.Control(a.on) }
func (a *stuckAlarm) stop() { _ = a.raw.Control(a.off) }

// wait waits until the alarm goes off. It reports false after close.
func (a *stuckAlarm) wait() bool {
	var times [8]byte
	_, err := a.file.Read(times[:])
	return err == nil
}

func (a *stuckAlarm) close() { _ = a.file.Close() }
