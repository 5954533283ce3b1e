package natsadapter

import (
	"context"
	"sync"

	"github.com/sockeye-io/sockeye/adapter"
)

// roomSubjects are the subscriptions to the subjects of rooms, for the rooms that exist on this node. All methods may be called
// concurrently; created and deleted of one room come in order.
type roomSubjects struct {
	// Static after construction.
	hub   *hub
	local adapter.Local

	// Guarded by mu.
	mu       sync.Mutex
	closed   bool
	subjects map[string]string // by room
	changed  chan struct{}     // closed with the next change of subjects, nil if nobody waits for it
}

func newRoomSubjects(h *hub, local adapter.Local) *roomSubjects {
	return &roomSubjects{hub: h, local: local, subjects: make(map[string]string)}
}

func (r *roomSubjects) created(room, subject string, to sink) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.subjects[room] = subject
	r.hub.subs.want(subject, false, to)
	r.changedLocked()
}

func (r *roomSubjects) deleted(room string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if subject, ok := r.subjects[room]; ok {
		delete(r.subjects, room)
		r.hub.subs.unwant(subject)
		r.changedLocked()
	}
}

func (r *roomSubjects) changedLocked() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// wait returns when NATS has confirmed the subscriptions to rooms that have just been joined, or with an error while NATS is away
// or slow.
func (r *roomSubjects) wait(ctx context.Context, rooms []string) error {
	subjects := make([]string, 0, len(rooms))
	for _, room := range rooms {
		if !hasSubject(room) {
			continue
		}
		subject, err := r.await(ctx, room)
		if err != nil {
			return err
		}
		if subject != "" {
			subjects = append(subjects, subject)
		}
	}
	if len(subjects) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.hub.opts.AnswerTimeout)
	defer cancel()
	return r.hub.subs.wait(ctx, r.hub.status.Away(), subjects...)
}

// await returns the subject of a room, of whose creation the observer may hear later than the join returns, or "" if the
// room is gone.
func (r *roomSubjects) await(ctx context.Context, room string) (subject string, err error) {
	for {
		r.mu.Lock()
		subject, ok := r.subjects[room]
		if ok || r.closed || !r.local.HasRoom(room) {
			r.mu.Unlock()
			return subject, nil
		}
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return "", adapter.ErrClusterUnavailable
		}
	}
}

// close ends all subscriptions.
func (r *roomSubjects) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, subject := range r.subjects {
		r.hub.subs.unwant(subject)
	}
	r.subjects = nil
	r.changedLocked()
}
