package adapter

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

// recentLogBytes bounds what a node remembers of a namespace's log.
const recentLogBytes = 16 << 20

// recentLog is what a node remembers of a namespace's log, so that a client that comes back soon costs no reading of it. There is no hole in
// it: it begins anew where one may be.
type recentLog struct {
	// Static after construction.
	log    Log
	events *recentEvents

	passed atomic.Pointer[string] // offset of the last one that has its place among what is delivered here

	// Guarded by events.mu.
	base   string // an offset before the first, behind which there is nothing else; "" if none is known
	breaks uint64 // of the log, when the first came
}

func newRecentLog(log Log, retain time.Duration) *recentLog {
	return &recentLog{log: log, events: newRecentEvents(recentLogBytes, retain)}
}

// add takes what is in the log, before it is delivered.
func (l *recentLog) add(m *Message, at time.Time) {
	if m.Kind != KindBroadcast && m.Kind != 0 {
		return
	}
	e := recentOf(m)
	breaks := l.log.Breaks()
	r := l.events
	r.mu.Lock()
	if e == nil || breaks != l.breaks {
		l.clearLocked(breaks)
	}
	if e != nil {
		e.at = at
		if forgotten := r.addLocked(e); forgotten != nil {
			l.base = forgotten.offset
		}
	}
	r.mu.Unlock()
	r.tidy()
}

func (l *recentLog) clearLocked(breaks uint64) {
	l.events.clearLocked()
	l.base, l.breaks = "", breaks
}

// recentOf returns nil if nothing is known of a message but its place.
func recentOf(m *Message) *recentEvent {
	e := &recentEvent{offset: m.Offset}
	switch later, offset := m.Unopened, m.Offset; {
	case m.Packet != nil:
		e.bytes = keptBytes(m.Packet.Payload)
		e.open = func() *openedEvent { return openedOf(m, offset) }
	case later != nil:
		e.bytes = keptCost + later.Size
		e.open = func() *openedEvent { return openedOf(later.Open(), offset) }
	default:
		return nil
	}
	return e
}

// openedOf returns nil for a message that nobody gets who comes back.
func openedOf(m *Message, offset string) *openedEvent {
	if m == nil || m.Kind != KindBroadcast || !Kept(m.Packet, m.Flags) {
		return nil
	}
	return newOpenedEvent(m.Selection, withOffset(m.Packet, offset).Payload)
}

// placed notes that what has been added last has its place among what is delivered here.
func (l *recentLog) placed(m *Message) {
	if m.Packet != nil || m.Unopened != nil {
		l.passed.Store(&m.Offset)
	}
}

// position returns the better one of two offsets behind which there is the same for clients: passed is that of something remembered, nil if
// none, and read is where the log was read, "" if nowhere yet.
func (l *recentLog) position(passed *string, read string) string {
	r := l.events
	breaks := l.log.Breaks()
	r.mu.Lock()
	defer r.mu.Unlock()
	if breaks != l.breaks {
		l.clearLocked(breaks)
	}
	n := len(r.list)
	fresh := n > 0 && time.Since(r.list[n-1].at) < r.retain
	switch {
	case fresh && passed != nil:
		return *passed
	case !fresh && read != "": // the log, which has more than this namespace's, may forget what is behind the last one that is remembered
		l.clearLocked(breaks)
		l.base = read
	}
	return read
}

// find returns the number of what has an offset, or before which there is nothing behind it.
func (l *recentLog) find(offset string) (number uint64, found bool) {
	r := l.events
	breaks := l.log.Breaks()
	r.mu.Lock()
	defer r.mu.Unlock()
	if breaks != l.breaks {
		l.clearLocked(breaks)
	}
	i, _ := slices.BinarySearchFunc(r.list, offset, func(e *recentEvent, offset string) int { return l.log.Compare(e.offset, offset) })
	switch {
	case i < len(r.list) && r.list[i].offset == offset:
		return r.first + uint64(i), true
	case offset != "" && offset == l.base:
		return r.first - 1, true
	}
	return 0, false
}

// serve gives a client what it has missed, and reports false if that is not remembered.
func (l *recentLog) serve(q *missedRead) bool {
	after, found := l.find(q.offset)
	if !found {
		return false
	}
	events, _, last, err := l.events.missed(after, q.rooms, q.limits)
	if errors.Is(err, ErrHistoryGap) { // forgotten meanwhile
		return false
	}
	end := q.offset
	if last != nil {
		end = last.offset
	}
	q.missed = Missed{Events: events}
	q.finish(l.log, end, err)
	return true
}
