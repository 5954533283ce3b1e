package engine

import (
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/internal/websocket"
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

// kick writes what is pending. The caller has set busy, which makes it the only writer. It never blocks: what the
// kernel does not take at once is left to a goroutine that exists until everything is written.
func (c *wsConn) kick() {
	if c.raw == nil {
		c.s.srv.tasks.start(c.drain)
		return
	}
	if b := c.flush(batchPool.Get().(*batch)); b != nil {
		b.free()
	}
}

// flush is kick with the caller's batch. It returns nil if the batch is used by another goroutine now.
func (c *wsConn) flush(b *batch) *batch {
	if c.raw == nil {
		c.kick()
		return b
	}
	for range maxRounds {
		if !c.take(b) {
			return b
		}
		if err := b.tryWrite(c.raw); err != nil {
			c.writeFailed(b, err)
			return b
		}
		if len(b.bufs) > 0 {
			c.s.srv.tasks.start(func() { c.drainFrom(b) })
			return nil
		}
		c.settle(b)
	}
	c.s.srv.tasks.start(c.drain)
	return b
}

// drain is kick for connections without non-blocking writes, and for those on which others send as fast as is written.
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
		c.settle(b)
		if !c.take(b) {
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
	s := c.s
	for {
		s.mu.Lock()
		b.control, c.control = c.control, nil
		b.list = messages{}
		if s.ws == c && s.state != stateClosed {
			b.list = s.out.take()
		}
		if b.control != nil || !b.list.empty() {
			s.mu.Unlock()
			b.encode(c)
			return true
		}
		if s.ws == c && s.state == stateClosing {
			// Everything has been sent: the orderly close goes on with the close frame.
			s.mu.Unlock()
			s.finish(&ending{reason: ReasonForcedClose})
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

// settle ends the charge for a batch that is written.
func (c *wsConn) settle(b *batch) {
	if !b.list.empty() {
		s := c.s
		s.mu.Lock()
		if s.state != stateClosed {
			s.out.settle(b.cost, s.srv.cfg.OutboxLimit)
		}
		s.mu.Unlock()
		s.shard.traffic.out(b.list.release(s.srv.queued), b.size)
	}
	b.control = nil
}

// writeFailed ends the connection and the session whose transport it is. The session is told before the connection is
// closed, because the reader then reports an end that is only a consequence.
func (c *wsConn) writeFailed(b *batch, err error) {
	s := c.s
	s.srv.count.drops[dropClosed].Add(uint64(b.list.release(s.srv.queued)))
	s.mu.Lock()
	c.closeSent = true
	s.out.settle(b.cost, s.srv.cfg.OutboxLimit)
	current := s.ws == c
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

// textFrame is a websocket text frame of one Engine.IO packet.
func textFrame(dst []byte, packet string) []byte {
	return websocket.AppendFrame(dst, websocket.OpText, false, []byte(packet))
}
