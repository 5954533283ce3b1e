package main

import (
	"errors"
	"net"
	"runtime"
	"syscall"
	"unsafe"
)

const (
	hotWait   = 5 // ms, of a wait of which the scheduler does not know
	hotEvents = 128
)

// poller reads and answers connections on one goroutine. While there is something to do it waits without telling the scheduler, so that
// no processor is handed off and no other thread is woken; only when that wait ends with nothing it waits as other system calls do.
type poller struct {
	epoll int
	// wake is a pipe: when its other end is closed, the poller ends.
	wake [2]int
	done chan struct{}

	// Owned by run.
	partial map[int32][]byte // by descriptor
	buf     []byte
	out     []byte
}

func newPoller() (*poller, error) {
	// A processor of its own, so that goroutines that compute do not wait for the poller, nor the poller for them.
	runtime.GOMAXPROCS(runtime.NumCPU() + 1)
	p := &poller{partial: make(map[int32][]byte), buf: make([]byte, readSize), done: make(chan struct{})}
	var err error
	if p.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if err = syscall.Pipe2(p.wake[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		return nil, err
	}
	return p, p.watch(p.wake[0])
}

func (p *poller) watch(fd int) error {
	return syscall.EpollCtl(p.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
}

// adopt takes a connection out of the runtime's hands: it watches a descriptor of its own.
func (p *poller) adopt(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	fd := -1
	if e := raw.Control(func(original uintptr) {
		n, _, e := syscall.Syscall(syscall.SYS_FCNTL, original, syscall.F_DUPFD_CLOEXEC, 0)
		if e != 0 {
			err = e
			return
		}
		fd = int(n)
	}); e != nil || err != nil {
		return errors.Join(e, err)
	}
	conn.Close()
	if err := p.watch(fd); err != nil {
		syscall.Close(fd)
	}
	return nil
}

// run serves until stop is called.
func (p *poller) run() {
	defer close(p.done)
	events := make([]syscall.EpollEvent, hotEvents)
	for {
		n, err := p.wait(events)
		if err != nil {
			return
		}
		for _, e := range events[:n] {
			if int(e.Fd) == p.wake[0] {
				return
			}
			if !p.serve(int(e.Fd)) {
				delete(p.partial, e.Fd)
				syscall.Close(int(e.Fd))
			}
		}
	}
}

func (p *poller) wait(events []syscall.EpollEvent) (int, error) {
	for {
		n, _, e := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), hotWait, 0, 0)
		if e == syscall.EINTR {
			runtime.Gosched() // the runtime asks for this goroutine by a signal, for example to collect garbage
			continue
		}
		if e != 0 {
			return 0, e
		}
		if n > 0 {
			return int(n), nil
		}
		cold, err := syscall.EpollWait(p.epoll, events, -1)
		if !errors.Is(err, syscall.EINTR) {
			return cold, err
		}
	}
}

// serve reads once and answers; false means that the connection is over. An answer that the kernel does not take at once ends it too:
// this server keeps none.
func (p *poller) serve(fd int) bool {
	n, _, e := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p.buf[0])), uintptr(len(p.buf)))
	if e == syscall.EAGAIN || e == syscall.EINTR {
		return true
	}
	if e != 0 || n == 0 {
		return false
	}
	rest, out, err := feed(p.partial[int32(fd)], p.buf[:n], p.out[:0])
	p.out = out
	if err != nil {
		return false
	}
	if len(rest) > 0 {
		p.partial[int32(fd)] = rest
	} else if len(p.partial) > 0 {
		delete(p.partial, int32(fd))
	}
	if len(out) == 0 {
		return true
	}
	n, _, e = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&out[0])), uintptr(len(out)))
	return e == 0 && int(n) == len(out)
}

// stop ends the poller. Connections that are open stay so until the program ends.
func (p *poller) stop() error {
	err := syscall.Close(p.wake[1])
	<-p.done
	return errors.Join(err, syscall.Close(p.wake[0]), syscall.Close(p.epoll))
}
