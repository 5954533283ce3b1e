//go:build linux || darwin

package engine

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

// rawConn returns access to the descriptor of a plain TCP or Unix connection. Wrappers around one, TLS among them, must
// be used through their own methods and give nil.
func rawConn(conn net.Conn) syscall.RawConn {
	var sc syscall.Conn
	switch c := conn.(type) {
	case *net.TCPConn:
		sc = c
	case *net.UnixConn:
		sc = c
	default:
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// attempt is one non-blocking write. It is pooled with its callback, which would otherwise be an allocation for each
// write.
type attempt struct {
	bufs [][]byte
	err  error
	try  func(fd uintptr) bool
}

var attemptPool = sync.Pool{New: func() any {
	a := &attempt{}
	a.try = a.write
	return a
}}

// tryWrite writes what the kernel takes without waiting and returns what is left. The elements of bufs are changed.
func (c *wsConn) tryWrite(bufs [][]byte) (rest [][]byte, err error) {
	a := attemptPool.Get().(*attempt)
	a.bufs = bufs
	err = c.raw.Write(a.try)
	if err == nil {
		err = a.err
	}
	rest = a.bufs
	a.bufs, a.err = nil, nil
	attemptPool.Put(a)
	return rest, err
}

// write always reports true, so that RawConn.Write never waits for writability.
func (a *attempt) write(fd uintptr) bool {
	for len(a.bufs) > 0 {
		n, err := syscall.Write(int(fd), a.bufs[0])
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return true
		case err != nil:
			a.err = err
			return true
		case n < len(a.bufs[0]):
			a.bufs[0] = a.bufs[0][n:]
		default:
			a.bufs = a.bufs[1:]
		}
	}
	return true
}

// fill is the callback of RawConn.Read: it takes a pooled buffer only once there is something to read, and reports
// false, which parks the goroutine, while there is not.
func (r *reader) fill(fd uintptr) bool {
	buf := readBuffers.Get().(*[]byte)
	for {
		n, err := syscall.Read(int(fd), *buf)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if errors.Is(err, syscall.EAGAIN) {
			readBuffers.Put(buf)
			return false
		}
		if n <= 0 {
			readBuffers.Put(buf)
			if r.err = err; err == nil {
				r.err = io.EOF
			}
			return true
		}
		r.buf, r.n = buf, n
		return true
	}
}
