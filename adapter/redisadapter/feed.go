package redisadapter

import "sync"

// feed is the queue between the goroutine that reads a connection and the one that decodes the messages of a namespace.
// The latter exists only while the queue is not empty. All methods may be called concurrently.
type feed struct {
	// Static after construction.
	stats  *counters
	limit  int
	handle func(channel, body string) // called for one message at a time, in order

	// Guarded by mu.
	mu      sync.Mutex
	queue   []delivery
	bytes   int
	running bool
	closed  bool
}

type delivery struct{ channel, body string }

func (h *hub) newFeed(handle func(channel, body string)) *feed {
	return &feed{stats: h.stats, limit: h.opts.FeedLimit, handle: handle}
}

// size is what a message takes while it waits, with its place in the queue.
func (d *delivery) size() int { return len(d.channel) + len(d.body) + 64 }

// push queues a message, or drops it when too many wait, and reports which. It does not block.
func (f *feed) push(channel, body string) (queued bool) {
	d := delivery{channel, body}
	size := d.size()
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return false
	case f.bytes+size > f.limit && f.bytes > 0:
		f.stats.feedDropped.Add(1)
		return false
	}
	f.queue = append(f.queue, d)
	f.bytes += size
	if !f.running {
		f.running = true
		go f.work()
	}
	return true
}

func (f *feed) work() {
	var batch []delivery
	for {
		f.mu.Lock()
		if len(f.queue) == 0 || f.closed {
			f.queue, f.running = nil, false
			f.mu.Unlock()
			return
		}
		batch, f.queue = f.queue, batch[:0]
		f.mu.Unlock()
		for i := range batch {
			f.handleOne(&batch[i])
		}
		clear(batch)
	}
}

// handleOne hands one message over unless the feed was closed meanwhile.
func (f *feed) handleOne(d *delivery) {
	f.mu.Lock()
	closed := f.closed
	f.mu.Unlock()
	if !closed {
		f.handle(d.channel, d.body)
	}
	f.mu.Lock()
	f.bytes -= d.size()
	f.mu.Unlock()
}

// close forgets what waits. It does not wait for a call of handle that is running, and may be called by it.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.queue = nil
}
