package engine

import (
	"sync"
	"sync/atomic"
)

// pollState is a connection's part of the poller. The zero value is a connection that is not watched.
type pollState struct {
	state atomic.Uint32 // one of the poll constants
	hup   atomic.Bool   // the peer has ended or broken the connection
	slot  int32         // owned by the reading side
}

const (
	pollOff     uint32 = iota
	pollIdle           // waits for an event
	pollReading        // a goroutine reads
	pollAgain          // a goroutine reads, and there was another event
)

// watched reports whether the poller watches the connection.
func (s *pollState) watched() bool { return s.state.Load() != pollOff }

// wake notes an event. It reports whether the caller must see to it that wsConn.readReady runs.
func (s *pollState) wake() bool {
	for {
		switch s.state.Load() {
		case pollIdle:
			if s.state.CompareAndSwap(pollIdle, pollReading) {
				return true
			}
		case pollReading:
			if s.state.CompareAndSwap(pollReading, pollAgain) {
				return false
			}
		default:
			return false
		}
	}
}

// rest ends the turn of the goroutine that reads. It reports false when there was an event meanwhile.
func (s *pollState) rest() bool {
	if s.state.CompareAndSwap(pollReading, pollIdle) {
		return true
	}
	s.state.Store(pollReading)
	return false
}

// readBatch is what one read of a watched connection needs.
type readBatch struct {
	buf  []byte
	n    int
	err  error
	read func(fd uintptr) bool // the callback, which would otherwise be an allocation for each read
}

var readBatches = sync.Pool{New: func() any {
	b := &readBatch{buf: make([]byte, readBufferSize)}
	b.read = b.tryRead
	return b
}}

// startPolling lets the poller watch the connection; first is what has been read of it already. It reports false, having
// changed nothing, when that cannot be done.
func (c *wsConn) startPolling(first []byte) bool {
	srv := c.s.srv
	c.poll.state.Store(pollReading)
	if !srv.poller.add(c) {
		c.poll.state.Store(pollOff)
		return false
	}
	srv.tasks.hold()
	srv.workers.join()
	switch {
	case c.raw == nil:
		pollable(c.conn).noWait.Store(true)
		fallthrough // TLS may hold what it has read with the handshake
	case len(first) > 0:
		go c.readFirst(first)
	case !c.poll.rest():
		srv.workers.do((*readJob)(c))
	}
	return true
}

func (c *wsConn) readFirst(first []byte) {
	defer c.readReady() // deferred, because a handler may call runtime.Goexit
	if len(first) > 0 {
		c.onReadable(first)
	}
}

// readJob is a connection that has become readable, as the workers see it.
type readJob wsConn

func (j *readJob) run() { (*wsConn)(j).readReady() }

// readReady reads and handles what there is, until there is no more, on a goroutine of its own. What the handlers left to
// do for the application follows when the connection has been let go.
func (c *wsConn) readReady() {
	over := false
	defer func() {
		if !over { // a handler has called runtime.Goexit
			go c.readReady()
		}
	}()
	for {
		c.sitOut()
		drained, err := c.readSome()
		if err != nil {
			over = true
			c.runElsewhere() // of a handler that has called runtime.Goexit, or of what TLS had read before its end
			c.poll.state.Store(pollOff)
			c.s.srv.poller.remove(c)
			c.onReadEnd(err)
			c.s.srv.workers.leave()
			c.s.srv.tasks.done()
			return
		}
		if !drained {
			c.runElsewhere()
			continue
		}
		// What is continued must be taken before another goroutine may read.
		f := c.continuation()
		if c.poll.rest() {
			over = true
			if f != nil {
				f()
			}
			return
		}
		c.continued = f
		c.runElsewhere()
	}
}

// readSome handles one read. drained says that there was no more at that moment, and no pause.
func (c *wsConn) readSome() (drained bool, err error) {
	b := readBatches.Get().(*readBatch)
	defer readBatches.Put(b)
	switch {
	case c.raw == nil:
		return c.readTLS(b)
	case c.probing:
		return c.readProbe(b)
	}
	return c.readPlainly(b)
}

// readPlainly is readSome for a connection with a descriptor of its own.
func (c *wsConn) readPlainly(b *readBatch) (drained bool, err error) {
	b.n, b.err = 0, nil
	if err := c.raw.Read(b.read); err != nil {
		return false, err
	}
	if b.n == 0 {
		return b.err == nil, b.err
	}
	verdict := c.onReadable(b.buf[:b.n])
	// A read that did not fill the buffer has taken everything, unless the end of the connection comes behind it: that has
	// been signalled together with the data.
	return verdict == keepReading && b.n < len(b.buf) && !c.poll.hup.Load(), nil
}

// readTLS is readSome for TLS, which has more until it says that it has not.
func (c *wsConn) readTLS(b *readBatch) (drained bool, err error) {
	n, err := c.conn.Read(b.buf)
	if n > 0 && c.onReadable(b.buf[:n]) == pauseReading {
		c.sitOut() // the end of the connection does not overtake what came before it
	}
	if isNotReady(err) {
		releaseTLS(c.conn)
		return true, nil
	}
	return false, err
}

// sitOut returns when the session is not paused, and what was read before has been handled.
func (c *wsConn) sitOut() {
	for c.onReadable(nil) == pauseReading {
		c.runElsewhere()
		if c.poll.hup.Load() {
			c.s.endBreak()
		}
		c.awaitResume()
	}
}

// runElsewhere lets another goroutine do what the handlers left to do, if they did: this one goes on reading, or waits.
func (c *wsConn) runElsewhere() {
	if f := c.continuation(); f != nil {
		go f()
	}
}
