package inflow

import (
	"sync"
	"sync/atomic"
)

// Item is what waits in a Feed.
type Item interface {
	// Size is what the item takes while it waits, in bytes.
	Size() int
}

// Feed is the queue between the goroutine that reads a connection and the one that decodes the messages of a namespace.
// The latter exists only while the queue is not empty. All methods may be called concurrently.
type Feed[T Item] struct {
	// Static after construction.
	limit   int
	dropped *atomic.Uint64
	handle  func(T)

	// Guarded by mu.
	mu      sync.Mutex
	queue   []T
	bytes   int
	running bool
	closed  bool
}

// NewFeed returns a feed that calls handle for one item at a time, in order. Items beyond limit bytes are dropped and counted.
func NewFeed[T Item](limit int, dropped *atomic.Uint64, handle func(T)) *Feed[T] {
	return &Feed[T]{limit: limit, dropped: dropped, handle: handle}
}

// place is what an item's place in the queue takes.
const place = 32

// Push queues an item, or drops it when too much waits, and reports which. It does not block.
func (f *Feed[T]) Push(item T) (queued bool) {
	size := item.Size() + place
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return false
	case f.bytes+size > f.limit && f.bytes > 0:
		f.dropped.Add(1)
		return false
	}
	f.queue = append(f.queue, item)
	f.bytes += size
	if !f.running {
		f.running = true
		go f.work()
	}
	return true
}

// Waiting returns how many bytes wait or are being handled.
func (f *Feed[T]) Waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bytes
}

func (f *Feed[T]) work() {
	var batch []T
	for {
		f.mu.Lock()
		if len(f.queue) == 0 || f.closed {
			f.queue, f.running = nil, false
			f.mu.Unlock()
			return
		}
		batch, f.queue = f.queue, batch[:0]
		f.mu.Unlock()
		for _, item := range batch {
			f.handleOne(item)
		}
		clear(batch)
	}
}

// handleOne hands one item over unless the feed was closed meanwhile.
func (f *Feed[T]) handleOne(item T) {
	f.mu.Lock()
	closed := f.closed
	f.mu.Unlock()
	if !closed {
		f.handle(item)
	}
	f.mu.Lock()
	f.bytes -= item.Size() + place
	f.mu.Unlock()
}

// Close forgets what waits. It does not wait for a call of handle that is running, and may be called by it.
func (f *Feed[T]) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.queue = nil
}
