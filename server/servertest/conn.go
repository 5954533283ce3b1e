package servertest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// conn is one end of a connection in memory. Unlike net.Pipe it buffers, as a kernel does: a write returns at once until
// the buffer of the direction is full, and then blocks until the other end reads. All waiting is in sync.Cond.Wait,
// which synctest counts as durably blocked.
type conn struct {
	in, out       *stream
	local, remote net.Addr
	closed        func(*conn) // nil, or told about Close
}

// newConnPair returns the two ends of a connection that buffers limit bytes in each direction.
func newConnPair(client, server net.Addr, limit int) (*conn, *conn) {
	up, down := newStream(limit), newStream(limit)
	return &conn{in: down, out: up, local: client, remote: server}, &conn{in: up, out: down, local: server, remote: client}
}

// Read reads what is there, or waits for something.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.wrap("read", err)
}

// Write returns when everything is in the buffer.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.wrap("write", err)
}

func (c *conn) wrap(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return &net.OpError{Op: op, Net: "memory", Source: c.local, Addr: c.remote, Err: err}
}

// Close ends both directions. The peer still reads what has been written, then io.EOF.
func (c *conn) Close() error {
	if !c.in.closeRead() {
		return c.wrap("close", net.ErrClosed)
	}
	c.out.closeWrite()
	if c.closed != nil {
		c.closed(c)
	}
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error {
	return c.wrap("set", c.in.setDeadline(&c.in.readDeadline, t))
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	return c.wrap("set", c.out.setDeadline(&c.out.writeDeadline, t))
}

// hold makes reads wait even though there is something to read, until it is called with false.
func (c *conn) hold(on bool) {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.held = on
	c.in.change.Broadcast()
}

// stream is one direction of a connection.
type stream struct {
	limit int // static

	mu     sync.Mutex
	change sync.Cond // of anything below
	// Guarded by mu.
	buf                         bytes.Buffer
	writing                     bool // a Write is under way; others wait, so that none is torn
	held                        bool
	readClosed, writeClosed     bool
	readDeadline, writeDeadline deadline
}

// deadline belongs to one stream and is guarded by its lock.
type deadline struct {
	timer  *time.Timer
	passed bool
	serial int // of the setting; an older timer that fires late changes nothing
}

func newStream(limit int) *stream {
	s := &stream{limit: limit}
	s.change.L = &s.mu
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readClosed:
			return 0, net.ErrClosed
		case s.readDeadline.passed:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case s.held:
		case s.buf.Len() > 0:
			s.change.Broadcast()
			return s.buf.Read(p)
		case s.writeClosed:
			return 0, io.EOF
		}
		s.change.Wait()
	}
}

func (s *stream) write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := false
	for {
		free := s.limit - s.buf.Len()
		switch {
		case s.writeClosed:
			err = net.ErrClosed
		case s.readClosed:
			err = io.ErrClosedPipe
		case s.writeDeadline.passed:
			err = os.ErrDeadlineExceeded
		case s.writing && !mine:
			s.change.Wait()
			continue
		case len(p) > 0 && free <= 0:
			mine, s.writing = true, true
			s.change.Wait()
			continue
		case len(p) > free:
			s.buf.Write(p[:free])
			n, p = n+free, p[free:]
			s.change.Broadcast()
			continue
		default:
			s.buf.Write(p)
			n += len(p)
		}
		break
	}
	if mine {
		s.writing = false
	}
	s.change.Broadcast()
	return n, err
}

// closeRead ends the reading side and reports whether it was open.
func (s *stream) closeRead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readClosed {
		return false
	}
	s.readClosed = true
	s.buf = bytes.Buffer{}
	s.stopLocked(&s.readDeadline)
	return true
}

func (s *stream) closeWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeClosed = true
	s.stopLocked(&s.writeDeadline)
}

func (s *stream) stopLocked(d *deadline) {
	d.serial++
	if d.timer != nil {
		d.timer.Stop()
	}
	s.change.Broadcast()
}

// setDeadline sets d, one of the stream's own. The zero time means none.
func (s *stream) setDeadline(d *deadline, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d == &s.readDeadline && s.readClosed || d == &s.writeDeadline && s.writeClosed {
		return net.ErrClosed
	}
	s.stopLocked(d)
	left := time.Until(t)
	d.passed = !t.IsZero() && left <= 0
	if t.IsZero() || d.passed {
		return nil
	}
	serial := d.serial
	d.timer = time.AfterFunc(left, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if d.serial == serial {
			d.passed = true
			s.change.Broadcast()
		}
	})
	return nil
}
