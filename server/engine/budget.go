package engine

import "sync/atomic"

// budget is what a server has queued, each message counted once however many of its sessions have it; Options.OutboxTotal
// bounds it.
type budget struct{ bytes atomic.Int64 }

// charge counts in how many outboxes of one server a message is. The first server's is in the message itself.
type charge struct {
	budget   atomic.Pointer[budget]
	outboxes atomic.Int32
	next     atomic.Pointer[charge] // another server's
}

// another returns the charge of a server that is not, or not yet, the first one. It adds it if need be.
func (m *Message) another(b *budget) *charge {
	if m.charge.budget.CompareAndSwap(nil, b) {
		return &m.charge
	}
	for c := &m.charge; c != nil; c = c.next.Load() {
		if c.budget.Load() == b {
			return c
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &m.charge
	for c.budget.Load() != b {
		next := c.next.Load()
		if next == nil {
			next = &charge{}
			next.budget.Store(b)
			c.next.Store(next)
		}
		c = next
	}
	return c
}

// queued notes that one more outbox of the server has m. It reports whether that makes the server exceed total.
func (b *budget) queued(m *Message, total int64) (over bool) {
	if m.uncounted {
		return false
	}
	c := &m.charge
	if c.budget.Load() != b {
		c = m.another(b)
	}
	return c.outboxes.Add(1) == 1 && b.bytes.Add(int64(m.size)) > total
}

// unqueued ends what queued began.
func (b *budget) unqueued(m *Message) {
	if m.uncounted {
		return
	}
	c := &m.charge
	if c.budget.Load() != b {
		c = m.another(b)
	}
	if c.outboxes.Add(-1) == 0 {
		b.bytes.Add(-int64(m.size))
	}
}
