//go:build linux || darwin

package engine

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// passThrough is a wrapper that changes nothing of the bytes any more, such as that of package proxyprotocol.
type passThrough interface{ PassThrough() net.Conn }

// passed returns the connection on which the bytes of conn lie unchanged.
func passed(conn net.Conn) net.Conn {
	for {
		switch c := taken(conn).(type) {
		case passThrough:
			conn = c.PassThrough()
		default:
			return c
		}
	}
}

// rawConn returns access to the descriptor of a plain TCP or Unix connection. Other wrappers around one, TLS among them, must
// be used through their own methods and give nil.
func rawConn(conn net.Conn) syscall.RawConn {
	var sc syscall.Conn
	switch c := conn.(type) {
	case *net.TCPConn:
		sc = c
	case *net.UnixConn:
		sc = c
	case *pollConn:
		return c.raw
	case passThrough:
		return rawConn(c.PassThrough())
	default:
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// tryWrite writes what the kernel takes without waiting and leaves the rest in bufs.
func (b *batch) tryWrite(raw syscall.RawConn) error {
	b.err = nil
	if err := raw.Write(b.try); err != nil {
		return err
	}
	return b.err
}

// write always reports true, so that RawConn.Write never waits for writability.
func (b *batch) write(fd uintptr) bool {
	for len(b.bufs) > 0 {
		n, err := writeNow(fd, b.bufs[0])
		if b.err = err; err != nil {
			return true
		}
		if n < len(b.bufs[0]) {
			b.bufs[0] = b.bufs[0][n:]
			return true
		}
		b.bufs = b.bufs[1:]
	}
	return true
}

// writeNow writes what the kernel takes without waiting.
func writeNow(fd uintptr, p []byte) (written int, err error) {
	for written < len(p) {
		n, err := syscall.Write(int(fd), p[written:])
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return written, nil
		case err != nil:
			return written, err
		default:
			written += n
		}
	}
	return written, nil
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

// tryRead is the callback of RawConn.Read for a watched connection. It always reports true, so that it never parks the
// goroutine; n is 0 without an error when there is nothing to read.
func (b *readBatch) tryRead(fd uintptr) bool {
	b.n, b.err = readNow(fd, b.buf)
	return true
}

// readNow reads once, without waiting. It returns 0 and no error when there is nothing to read.
func readNow(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}
