package engine

import (
	"errors"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// parkedWait has the epoll descriptor registered with Go's network poller: waiting for it blocks a goroutine and not a thread.
// Each event wakes the thread that waits there, and then the goroutine.
type parkedWait struct {
	file *os.File
	raw  syscall.RawConn
	fd   int
}

func newParkedWait(fd int) (waiter, error) {
	_ = syscall.SetNonblock(fd, true)
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &parkedWait{file: file, raw: raw, fd: fd}, nil
}

func (w *parkedWait) descriptor() int { return w.fd }

func (w *parkedWait) wait(events []syscall.EpollEvent) (n int) {
	err := w.raw.Read(func(fd uintptr) bool {
		n, _ = syscall.EpollWait(int(fd), events, 0)
		return n > 0
	})
	if err != nil {
		return 0
	}
	return n
}

func (w *parkedWait) end() { _ = w.file.Close() }

func (w *parkedWait) close() {}

// hotTime is how long a hot wait lasts at most, in milliseconds. Longer gaps between events cost a hand-over of the processor each.
const hotTime = 10

// maxInterrupted is how often a hot wait begins anew that the runtime has interrupted.
const maxInterrupted = 8

// hotWait waits in a thread of its own, and does not tell the scheduler of it as long as events come: the scheduler then hands its
// P to no other thread, and no thread has to be woken when the wait ends. That P is nobody's meanwhile, so that there has to be one
// to spare. When nothing has come for hotTime it waits as any system call does.
type hotWait struct {
	fd     int
	wakeUp int // an eventfd in the set
	ended  atomic.Bool
}

// wakeUpSlot is what its event has in place of a slot.
const wakeUpSlot = -1

func newHotWait(fd int) (waiter, error) {
	wakeUp, _, errno := syscall.Syscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		return nil, errno
	}
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: wakeUpSlot}
	if err := syscall.EpollCtl(fd, syscall.EPOLL_CTL_ADD, int(wakeUp), &event); err != nil {
		_ = syscall.Close(int(wakeUp))
		return nil, err
	}
	return &hotWait{fd: fd, wakeUp: int(wakeUp)}, nil
}

func (w *hotWait) descriptor() int { return w.fd }

func (w *hotWait) wait(events []syscall.EpollEvent) int {
	n, err := w.waitHot(events)
	for interrupted := 0; n <= 0 && !w.ended.Load(); {
		switch {
		case err == syscall.EINTR && interrupted < maxInterrupted:
			// The runtime's signal: somebody wants this goroutine to stop, such as the garbage collector.
			interrupted++
			runtime.Gosched()
			n, err = w.waitHot(events)
		default:
			n, _ = syscall.EpollWait(w.fd, events, -1)
			err = nil
		}
	}
	if w.ended.Load() {
		return 0
	}
	return n
}

func (w *hotWait) waitHot(events []syscall.EpollEvent) (int, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(w.fd), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), hotTime, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// end first wakes whoever waits: once it is said that the wait has ended, close may come at any time.
func (w *hotWait) end() {
	one := [8]byte{7: 1} // not 0 in either byte order
	_, err := syscall.Write(w.wakeUp, one[:])
	for errors.Is(err, syscall.EINTR) {
		_, err = syscall.Write(w.wakeUp, one[:])
	}
	w.ended.Store(true)
}

func (w *hotWait) close() {
	_ = syscall.Close(w.fd)
	_ = syscall.Close(w.wakeUp)
}
