package engine

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// stampArrivals asks the kernel to note when it gets what the connections of l bring.
func stampArrivals(l net.Listener) {
	sc, ok := l.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := sc.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_TIMESTAMPNS, 1)
		})
	}
}

// timedRead is one read that tells when the kernel got the last of its bytes.
type timedRead struct {
	p    []byte
	n    int
	at   int64 // unix nanoseconds; without the kernel's word, of the read
	wait bool
	err  error
	oob  [64]byte
	read func(fd uintptr) bool
}

var timedReads = sync.Pool{New: func() any {
	r := new(timedRead)
	r.read = r.try
	return r
}}

// readTimed reads once. Without wait it returns 0 and no error when there is nothing to read.
func readTimed(raw syscall.RawConn, p []byte, wait bool) (n int, at int64, err error) {
	r := timedReads.Get().(*timedRead)
	defer timedReads.Put(r)
	r.p, r.n, r.at, r.wait, r.err = p, 0, 0, wait, nil
	err = raw.Read(r.read)
	r.p = nil
	if err == nil {
		err = r.err
	}
	return r.n, r.at, err
}

// try is the callback of RawConn.Read.
func (r *timedRead) try(fd uintptr) bool {
	for {
		n, oobn, _, _, err := syscall.Recvmsg(int(fd), r.p, r.oob[:], 0)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			return !r.wait
		case err != nil:
			r.err = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("recvmsg", err)}
		case n == 0 && len(r.p) > 0:
			r.err = io.EOF
		default:
			if r.n, r.at = n, stampOf(r.oob[:oobn]); r.at == 0 {
				r.at = time.Now().UnixNano()
			}
		}
		return true
	}
}

// stampOf reads the time from a control message of the kernel, 0 without.
func stampOf(oob []byte) int64 {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil || len(messages) == 0 || messages[0].Header.Type != syscall.SO_TIMESTAMPNS {
		return 0
	}
	switch data := messages[0].Data; {
	case len(data) >= 16:
		return int64(binary.NativeEndian.Uint64(data))*int64(time.Second) + int64(binary.NativeEndian.Uint64(data[8:]))
	case len(data) >= 8:
		return int64(binary.NativeEndian.Uint32(data))*int64(time.Second) + int64(binary.NativeEndian.Uint32(data[4:]))
	}
	return 0
}

// readNoting is Read of a connection that may carry HTTP: a request of a session is noted as arrived. While a request is served,
// net/http reads a byte to see whether the client has gone. It can be the first of the next request.
func (c *pollConn) readNoting(p []byte) (int, error) {
	n, at, err := readTimed(c.raw, p, true)
	switch {
	case n == 1 && len(p) == 1:
		c.lead, c.leadAt = p[0], at
	case n > 0:
		if c.lead != 0 {
			at = c.leadAt
		}
		c.note(p[:n], at)
		c.lead = 0
	}
	return n, err
}

// note puts a request on the list of its session. Whatever the connection brought before has been served, or never will be.
func (c *pollConn) note(p []byte, at int64) {
	key, ok := requestSession(c.lead, p)
	if !ok {
		return
	}
	if c.peer == "" {
		c.peer = c.RemoteAddr().String()
	}
	a := &arrival{key: key, from: c.peer, at: at}
	inFlight.add(a)
	inFlight.end(c.arrival.Swap(a))
	if c.closed.Load() {
		inFlight.end(a)
	}
}

// readProbe is a read of a connection that may become the session's. What arrived earlier goes first.
func (c *wsConn) readProbe(b *readBatch) (drained bool, err error) {
	n, at, err := readTimed(c.raw, b.buf, false)
	if n == 0 {
		return err == nil, err
	}
	a := &arrival{key: arrivalKey([]byte(c.s.id)), at: at}
	inFlight.add(a)
	defer inFlight.end(a)
	inFlight.await(a)
	c.s.noteProbe(at)
	verdict := c.onReadable(b.buf[:n])
	return verdict == keepReading && n < len(b.buf) && !c.poll.hup.Load(), nil
}
