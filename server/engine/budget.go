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

// chargeOf returns the charge of a server, which it adds when the server is the first or another one.
func (m *Message) chargeOf(b *budget) *charge {
	first := &m.charge
	if owner := first.budget.Load(); owner == b || owner == nil && first.budget.CompareAndSwap(nil, b) {
		return first
	}
	for c := first; c != nil; c = c.next.Load() {
		if c.budget.Load() == b {
			return c
		}
	}
	return m.addCharge(b)
}

func (m *Message) addCharge(b *budget) *charge {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := &m.charge
	for {
		if last.budget.Load() == b {
			return last
		}
		next := last.next.Load()
		if next == nil {
			break
		}
		last = next
	}
	added := &charge{}
	added.budget.Store(b)
	last.next.Store(added)
	return added
}

// queued notes that one more outbox of the server has m. It reports whether that makes the server exceed total.
func (b *budget) queued(m *Message, total int64) (over bool) {
	return !m.uncounted && m.chargeOf(b).outboxes.Add(1) == 1 && b.bytes.Add(int64(m.size)) > total
}

// unqueued ends what queued began.
func (b *budget) unqueued(m *Message) {
	if !m.uncounted && m.chargeOf(b).outboxes.Add(-1) == 0 {
		b.bytes.Add(-int64(m.size))
	}
}
