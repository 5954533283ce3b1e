package engine

import (
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// descriptor is a connection that has been taken out of the runtime's network poller: what that watches as well as ours wakes a
// thread for nothing at each segment, and a net.Conn costs memory. Reads and writes are system calls that do not wait. Where one has
// to wait, such as for a client that does not keep up, the runtime watches a duplicate for as long as that lasts.
//
// Its methods may be called from any goroutine, those that wait from one at a time.
type descriptor struct {
	fd int32
	// users counts the calls that are under way; descriptorClosed is added to it by Close. The last one closes fd, so that none
	// gets a descriptor that belongs to another connection by then.
	users    atomic.Int32
	deadline atomic.Int64            // of calls that wait and begin later, see monotonic; 0: none
	waiting  atomic.Pointer[os.File] // the duplicate
	outer    io.Closer               // nil, or the wrapper that hears of the end
}

const descriptorClosed = -1 << 31

// ownDescriptor takes the socket of conn over and closes conn, which must not be used any more. It returns nil and leaves conn as it
// is, if that is no plain TCP or Unix connection or there are no descriptors left.
func ownDescriptor(conn net.Conn) *descriptor {
	inner := passed(conn)
	raw := rawConn(inner)
	if raw == nil {
		return nil
	}
	fd := -1
	if raw.Control(func(old uintptr) { fd = duplicate(old) }) != nil || fd < 0 {
		return nil
	}
	d := &descriptor{fd: int32(fd)}
	if inner != conn {
		d.outer = conn
	}
	_ = inner.Close()
	return d
}

// duplicate returns -1 if there is none.
func duplicate(fd uintptr) int {
	n, _, err := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_DUPFD_CLOEXEC, 0)
	if err != 0 {
		return -1
	}
	return int(n)
}

// enter begins a call that uses the descriptor. It reports false after Close.
func (d *descriptor) enter() bool {
	for {
		n := d.users.Load()
		if n < 0 {
			return false
		}
		if d.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (d *descriptor) leave() {
	if d.users.Add(-1) == descriptorClosed {
		_ = syscall.Close(int(d.fd))
	}
}

// Close closes the connection, and ends a call that waits.
func (d *descriptor) Close() error {
	switch old := d.users.Or(descriptorClosed); {
	case old < 0:
		return net.ErrClosed
	case old == 0:
		_ = syscall.Close(int(d.fd))
	}
	if f := d.waiting.Swap(nil); f != nil {
		_ = f.Close()
	}
	if d.outer != nil {
		_ = d.outer.Close()
	}
	return nil
}

// CloseWrite ends the sending side.
func (d *descriptor) CloseWrite() error {
	if !d.enter() {
		return net.ErrClosed
	}
	defer d.leave()
	return syscall.Shutdown(int(d.fd), syscall.SHUT_WR)
}

// SetDeadline bounds calls of Read and Write that begin later and have to wait; zero lifts the bound.
func (d *descriptor) SetDeadline(t time.Time) error {
	if t.IsZero() {
		d.deadline.Store(0)
	} else {
		d.deadline.Store(monotonic() + int64(time.Until(t)))
	}
	return nil
}

// SetWriteDeadline is SetDeadline.
func (d *descriptor) SetWriteDeadline(t time.Time) error { return d.SetDeadline(t) }

// Write waits until all of p is written.
func (d *descriptor) Write(p []byte) (n int, err error) {
	if !d.enter() {
		return 0, net.ErrClosed
	}
	defer d.leave()
	if n, err = writeNow(uintptr(d.fd), p); err != nil || n == len(p) {
		return n, err
	}
	err = d.await(func(f *os.File) error {
		more, err := f.Write(p[n:])
		n += more
		return err
	})
	return n, err
}

// Read waits until there is something to read.
func (d *descriptor) Read(p []byte) (n int, err error) {
	if !d.enter() {
		return 0, net.ErrClosed
	}
	defer d.leave()
	if n, err = readNow(uintptr(d.fd), p); err != nil || n > 0 {
		return n, err
	}
	err = d.await(func(f *os.File) (err error) {
		n, err = f.Read(p)
		return err
	})
	return n, err
}

// await lets the runtime watch a duplicate while use runs.
func (d *descriptor) await(use func(*os.File) error) error {
	fd := duplicate(uintptr(d.fd))
	if fd < 0 {
		return syscall.EMFILE
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	if at := d.deadline.Load(); at != 0 {
		if err := f.SetDeadline(time.Now().Add(time.Duration(at - monotonic()))); err != nil {
			return err // the runtime cannot watch it
		}
	}
	d.waiting.Store(f)
	if d.users.Load() < 0 { // Close may have been too early to find f
		return net.ErrClosed
	}
	defer d.waiting.Store(nil)
	return use(f)
}

// raw gives access to it as that to a net.Conn does, for calls that do not wait.
func (d *descriptor) raw() syscall.RawConn { return (*rawDescriptor)(d) }

// rawDescriptor is a descriptor's syscall.RawConn. Its Read and Write call f once and never wait.
type rawDescriptor descriptor

func (r *rawDescriptor) Control(f func(fd uintptr)) error {
	d := (*descriptor)(r)
	if !d.enter() {
		return net.ErrClosed
	}
	defer d.leave()
	f(uintptr(d.fd))
	return nil
}

func (r *rawDescriptor) Read(f func(fd uintptr) bool) error {
	d := (*descriptor)(r)
	if !d.enter() {
		return net.ErrClosed
	}
	defer d.leave()
	f(uintptr(d.fd))
	return nil
}

func (r *rawDescriptor) Write(f func(fd uintptr) bool) error { return r.Read(f) }
