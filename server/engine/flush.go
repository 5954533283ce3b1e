package engine

import (
	"sync"
	"time"
)

const (
	scratchSize = 16 << 10
	// copyLimit is the size up to which frames are copied together: copying 8 KB costs far less than a write.
	copyLimit = 8 << 10
	// writeChunk bounds one blocking write, so that progress is seen.
	writeChunk = 16 << 10
	// maxRounds is how many batches a caller writes before a goroutine relieves it.
	maxRounds = 16
)

// batch is what one flush writes.
type batch struct {
	control []byte
	list    messages
	cost    int64
	size    int // bytes of the packets
	bufs    [][]byte
	backing [][]byte // of bufs, kept for the next use
	scratch []byte

	// For tryWrite.
	try func(fd uintptr) bool // the callback, which would otherwise be an allocation for each write
	err error
}

var batchPool = sync.Pool{New: func() any {
	b := &batch{scratch: make([]byte, 0, scratchSize)}
	b.try = b.write
	return b
}}

func (b *batch) free() {
	clear(b.backing[:cap(b.backing)])
	if cap(b.backing) > maxPooledQueue {
		b.backing = nil
	}
	b.bufs, b.control, b.err = nil, nil, nil
	batchPool.Put(b)
}

// flush implements transport: it begins a turn as the connection's only writer. What the kernel does not take at once is
// left to a goroutine that exists until everything is written.
func (c *wsConn) flush(b *batch) *batch {
	s := c.s
	s.mu.Lock()
	if c.busy || s.out.empty() || s.transport != c {
		s.mu.Unlock()
		return b
	}
	c.busy = true
	if c.raw == nil {
		s.mu.Unlock()
		s.srv.tasks.start(c.drain)
		return b
	}
	return c.write(b, c.takeLocked(b))
}

// kick goes on with a turn as the writer that the caller has begun by setting busy.
func (c *wsConn) kick() {
	if c.raw == nil {
		c.s.srv.tasks.start(c.drain)
		return
	}
	b := batchPool.Get().(*batch)
	if b = c.write(b, c.take(b)); b != nil {
		b.free()
	}
}

// write writes what has been taken and whatever gathers meanwhile, never waiting. It returns nil if it has left the batch
// to another goroutine.
func (c *wsConn) write(b *batch, taken bool) *batch {
	for range maxRounds {
		if !taken {
			return b
		}
		if err := b.tryWrite(c.raw); err != nil {
			c.writeFailed(b, err)
			return b
		}
		if len(b.bufs) > 0 {
			break
		}
		taken = c.next(b)
	}
	if !taken {
		return b
	}
	c.s.srv.tasks.start(func() { c.drainFrom(b) })
	return nil
}

// drain is kick for connections without non-blocking writes.
func (c *wsConn) drain() {
	b := batchPool.Get().(*batch)
	if c.take(b) {
		c.drainFrom(b)
	} else {
		b.free()
	}
}

// drainFrom writes the rest of b and whatever gathers meanwhile, blocking.
func (c *wsConn) drainFrom(b *batch) {
	cfg := c.s.srv.cfg
	limit := cfg.PingInterval + cfg.PingTimeout
	for {
		for _, buf := range b.bufs {
			if err := c.writeBlocking(buf, limit); err != nil {
				c.writeFailed(b, err)
				b.free()
				return
			}
		}
		if !c.next(b) {
			b.free()
			return
		}
	}
}

// writeBlocking writes buf; limit bounds the time of each chunk.
func (c *wsConn) writeBlocking(buf []byte, limit time.Duration) error {
	defer func() { _ = c.conn.SetWriteDeadline(time.Time{}) }()
	for len(buf) > 0 {
		chunk := buf[:min(len(buf), writeChunk)]
		_ = c.conn.SetWriteDeadline(time.Now().Add(limit))
		n, err := c.conn.Write(chunk)
		if err != nil {
			return err
		}
		buf = buf[n:]
		c.s.noteProgress()
	}
	return nil
}

// take fills b with everything that is pending. With nothing left it ends the caller's turn as writer and reports
// false.
func (c *wsConn) take(b *batch) bool {
	c.s.mu.Lock()
	return c.takeLocked(b)
}

// takeLocked is take for a caller that has the lock, and unlocks.
func (c *wsConn) takeLocked(b *batch) bool {
	s := c.s
	for {
		b.control, c.control = c.control, nil
		b.list = s.takeLocked(c)
		if b.control != nil || !b.list.empty() {
			s.mu.Unlock()
			b.encode(c)
			return true
		}
		if s.transport == c && s.state == stateClosing {
			// Everything has been sent: the orderly close goes on with the close frame, if there is to be one.
			s.mu.Unlock()
			s.finishClosing()
			s.mu.Lock()
			continue
		}
		c.busy = false
		over := c.closeSent && c.closeReceived
		s.mu.Unlock()
		if over {
			c.shutdown()
		}
		return false
	}
}

// next ends the charge for a batch that is written and fills it with what has gathered meanwhile. Both happen in one turn with the
// lock, so that a session that is charged for nothing has no writer at work.
func (c *wsConn) next(b *batch) bool {
	packets := b.list.release(c.s.srv.queued)
	if packets > 0 {
		c.s.sent(c, packets, b.size)
	}
	c.s.mu.Lock()
	if packets > 0 && c.s.state != stateClosed {
		c.s.out.settle(b.cost, c.s.srv.cfg.OutboxLimit)
	}
	return c.takeLocked(b)
}

// writeFailed ends the connection and the session whose transport it is. The session is told before the connection is
// closed, because the reader then reports an end that is only a consequence.
func (c *wsConn) writeFailed(b *batch, err error) {
	s := c.s
	s.srv.count.drops[dropClosed].Add(uint64(b.list.release(s.srv.queued)))
	s.mu.Lock()
	c.closeSent = true
	s.out.settle(b.cost, s.srv.cfg.OutboxLimit)
	current := s.transport == c
	s.mu.Unlock()
	if current {
		s.fail(err)
	}
	c.close()
	s.mu.Lock()
	c.busy = false
	s.mu.Unlock()
}

// encode makes the list of buffers to write: a single frame as it is, several small ones copied together, large ones
// by reference.
func (b *batch) encode(c *wsConn) {
	b.bufs = b.backing[:0]
	b.cost, b.size = 0, 0
	if b.control != nil {
		b.bufs = append(b.bufs, b.control)
	}
	if m := b.list.first; m != nil {
		b.add(m, c)
	}
	for _, m := range b.list.more() {
		b.add(m, c)
	}
	b.backing = b.bufs
	if len(b.bufs) > 1 {
		b.bufs = b.gather()
	}
}

func (b *batch) add(m *Message, c *wsConn) {
	b.cost += m.cost()
	b.size += m.size
	b.bufs = c.framing.appendTo(b.bufs, m, c.deflate)
}

// gather copies runs of small buffers into the scratch space, in place: the result is never longer than the input.
func (b *batch) gather() [][]byte {
	in, out := b.bufs, b.bufs[:0]
	b.scratch = b.scratch[:0]
	start := 0
	for _, buf := range in {
		if len(buf) <= copyLimit && len(b.scratch)+len(buf) <= cap(b.scratch) {
			b.scratch = append(b.scratch, buf...)
			continue
		}
		if len(b.scratch) > start {
			out = append(out, b.scratch[start:])
			start = len(b.scratch)
		}
		out = append(out, buf)
	}
	if len(b.scratch) > start {
		out = append(out, b.scratch[start:])
	}
	return out
}
