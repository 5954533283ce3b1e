package adapter

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
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
	breaks uint64 // of the log, when it was last looked at
	broken string // where the log was read when a break was found: what is behind the break is behind this, too
}

func newRecentLog(log Log, retain time.Duration) *recentLog {
	return &recentLog{log: log, events: newRecentEvents(recentLogBytes, retain)}
}

// add takes what is in the log, before it is delivered, and reports whether it is remembered.
func (l *recentLog) add(m *Message, at time.Time) bool {
	if m.Kind != KindBroadcast && m.Kind != 0 {
		return false
	}
	e := recentOf(m)
	r := l.events
	r.mu.Lock()
	l.lookLocked()
	if e != nil {
		e.at = at
		r.addLocked(e)
	} else {
		l.breakLocked()
	}
	r.mu.Unlock()
	r.tidy()
	return e != nil
}

// lookLocked forgets what is before a break.
func (l *recentLog) lookLocked() {
	if breaks := l.log.Breaks(); breaks != l.breaks {
		l.breaks = breaks
		l.breakLocked()
	}
}

func (l *recentLog) breakLocked() {
	l.broken = l.log.Read()
	l.events.clearLocked("")
}

// recentOf returns nil if nothing is known of a message but its place.
func recentOf(m *Message) *recentEvent {
	e := &recentEvent{offset: m.Offset}
	switch later, offset := m.Unopened, m.Offset; {
	case m.Packet != nil:
		packet, selection, flags := m.Packet, m.Selection, m.Flags
		e.bytes = recentCost + keptBytes(packet.Payload) + listCost(selection.Rooms) + listCost(selection.Except)
		e.open = func() *openedEvent { return openedOf(packet, selection, flags, offset) }
	case later != nil:
		e.bytes = recentCost + later.Size
		e.open = func() *openedEvent {
			if m, _ := later.Open(); m != nil && m.Kind == KindBroadcast {
				return openedOf(m.Packet, m.Selection, m.Flags, offset)
			}
			return nil
		}
	default:
		return nil
	}
	return e
}

// openedOf returns nil for a broadcast that nobody gets who comes back. It keeps nothing of the texts that names of rooms are parts of.
func openedOf(p *parser.Packet, sel Selection, flags Flags, offset string) *openedEvent {
	if !Kept(p, flags) {
		return nil
	}
	return newOpenedEvent(Selection{Rooms: cloned(sel.Rooms), Except: cloned(sel.Except)}, withOffset(p, offset).Payload)
}

func cloned(rooms []string) []string {
	list := slices.Clone(rooms)
	for i, room := range list {
		list[i] = strings.Clone(room)
	}
	return list
}

// position returns the better one of two offsets behind which there is the same for clients: passed is that of something remembered, nil if
// none, and read is where the log was read, "" if nowhere yet.
func (l *recentLog) position(passed *string, read string) string {
	r := l.events
	r.mu.Lock()
	defer r.tidy()
	defer r.mu.Unlock()
	l.lookLocked()
	n := len(r.list)
	if n > 0 && passed != nil && time.Since(r.list[n-1].at) < r.retain {
		return *passed
	}
	if l.isEndLocked(read) && r.base != read { // the log, which has more than this namespace's, may forget what is behind the last one that is remembered
		r.clearLocked(read)
	}
	return read
}

// isEndLocked reports whether there is nothing behind an offset yet, and no break since.
func (l *recentLog) isEndLocked(read string) bool {
	list := l.events.list
	switch n := len(list); {
	case read == "" || read != l.log.Read() || l.log.Compare(read, l.broken) <= 0:
		return false
	case n > 0:
		return time.Since(list[n-1].at) >= l.events.retain && l.log.Compare(list[n-1].offset, read) <= 0
	}
	return true
}

// find returns the number of what has an offset, or before which there is nothing behind it.
func (l *recentLog) find(offset string) (number uint64, found bool) {
	r := l.events
	r.mu.Lock()
	defer r.mu.Unlock()
	l.lookLocked()
	i, _ := slices.BinarySearchFunc(r.list, offset, func(e *recentEvent, offset string) int { return l.log.Compare(e.offset, offset) })
	switch {
	case i < len(r.list) && r.list[i].offset == offset:
		return r.first + uint64(i), true
	case offset != "" && offset == r.base:
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
