package rooms

import "sync"

// notifier hands room events to the observer in the order in which the index changed, without a lock held.
// A nil notifier does nothing.
type notifier struct {
	// Static after construction.
	observer Observer

	mu sync.Mutex
	// Guarded by mu.
	queue   []roomEvent
	running bool
}

type roomEvent struct {
	room    string
	created bool
}

// pushLocked records an event. The caller holds the lock of the room's shard, which gives events of one room their order.
func (n *notifier) pushLocked(room string, created bool) {
	if n == nil {
		return
	}
	n.mu.Lock()
	n.queue = append(n.queue, roomEvent{room, created})
	n.mu.Unlock()
}

// flush delivers what has gathered, unless another goroutine is at it: that one then delivers these too.
func (n *notifier) flush() {
	if n == nil {
		return
	}
	n.mu.Lock()
	if n.running {
		n.mu.Unlock()
		return
	}
	n.running = true
	for len(n.queue) > 0 {
		batch := n.queue
		n.queue = nil
		n.mu.Unlock()
		for _, e := range batch {
			if e.created {
				n.observer.RoomCreated(e.room)
			} else {
				n.observer.RoomDeleted(e.room)
			}
		}
		n.mu.Lock()
	}
	n.running = false
	n.mu.Unlock()
}
