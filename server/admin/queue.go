package admin

import (
	"errors"
	"sync"

	"github.com/sockeye-io/sockeye/server"
)

// Bounds of what waits to be told.
const (
	maxQueued      = 10_000
	maxQueuedBytes = 16 << 20
	noticeSize     = 256 // of one without arguments, about
)

// notice is something that pages are to be told.
type notice struct {
	event string
	args  []any
	size  int
}

// queue holds notices in order, so that those who cause them need not wait. When it is full the newest are dropped.
type queue struct {
	more chan struct{} // gets a value when there is something

	mu sync.Mutex
	// Guarded by mu.
	notices []notice
	bytes   int
	dropped uint64
}

func newQueue() *queue { return &queue{more: make(chan struct{}, 1)} }

func (q *queue) put(n notice) {
	q.mu.Lock()
	n.size += noticeSize
	if len(q.notices) >= maxQueued || q.bytes+n.size > maxQueuedBytes {
		q.dropped++
		q.mu.Unlock()
		return
	}
	q.notices = append(q.notices, n)
	q.bytes += n.size
	q.mu.Unlock()
	select {
	case q.more <- struct{}{}:
	default: // somebody has said so
	}
}

func (q *queue) take() []notice {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.notices
	q.notices, q.bytes = nil, 0
	return list
}

func (q *queue) droppedCount() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// tell queues something that pages are to be told. It never blocks.
func (a *Admin) tell(event string, args ...any) { a.queue.put(notice{event: event, args: args}) }

// tellQueued tells the pages of all nodes what is queued.
func (a *Admin) tellQueued() {
	for _, n := range a.queue.take() {
		err := a.pages.Emit(n.event, n.args...)
		if errors.Is(err, server.ErrClosed) {
			return
		}
		if err != nil {
			a.log.Debug("admin UI: pages on other nodes miss something", "event", n.event, "error", err)
		}
	}
}
