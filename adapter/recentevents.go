package adapter

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
)

// recentEvents keeps the last broadcasts of a namespace, and finds those that a socket has missed without looking at the others: by the
// rooms that they were for. A broadcast is looked into, and indexed, when somebody first asks behind it, so that one that nobody asks for
// costs little more than its memory.
//
// They have consecutive numbers, from 1.
type recentEvents struct {
	// Static after construction.
	limit  int           // in bytes; the oldest are forgotten early then, but never the newest
	retain time.Duration // how long they are kept

	mu sync.Mutex
	// Guarded by mu.
	list  []*recentEvent
	first uint64 // number of the first in list, or of the next one
	base  string // an offset before the first, behind which there is nothing else; "" if none is known
	bytes int

	index recentIndex
}

// recentEvent is a broadcast.
type recentEvent struct {
	// Static after construction.
	offset string // "" if its number says it
	at     time.Time

	bytes int // what it takes, about; guarded by the lock of the events

	// Owned by the index.
	open  func() *openedEvent // nil when it was called
	event *openedEvent        // nil if nobody gets it again
}

// openedEvent is what clients get that come back.
type openedEvent struct {
	selection Selection
	rooms     []string       // by which it is found; none if everybody's
	payload   parser.Payload // with its offset
	bytes     int            // of the payload
}

// What is taken beside texts and payloads, in bytes: by a broadcast, by a room in a list, and by one that it is found by, which may be in
// no other broadcast.
const (
	recentCost  = 320
	roomCost    = 16
	indexedCost = 144
)

// cost is what an event takes, with its part of the index.
func (e *openedEvent) cost() int {
	if e == nil {
		return recentCost
	}
	return recentCost + e.bytes + listCost(e.selection.Rooms) + listCost(e.selection.Except) + indexedCost*len(e.rooms)
}

func listCost(rooms []string) int {
	n := roomCost * len(rooms)
	for _, room := range rooms {
		n += len(room)
	}
	return n
}

// maxRoomsKnown is by how many rooms a broadcast is found at most; one that is for more is looked at for everybody.
const maxRoomsKnown = 16

func newOpenedEvent(sel Selection, payload parser.Payload) *openedEvent {
	e := &openedEvent{selection: sel, payload: payload, bytes: keptBytes(payload)}
	if n := len(sel.Rooms); n > 0 && n <= maxRoomsKnown {
		e.rooms = slices.Compact(slices.Sorted(slices.Values(sel.Rooms)))
	}
	return e
}

// keptBytes is what a payload takes that is kept.
func keptBytes(p parser.Payload) int {
	n := keptCost + len(p.JSON)
	for _, a := range p.Attachments {
		n += len(a)
	}
	return n
}

// recentIndex knows a part of them by their rooms. Its lock is taken before that of the events.
type recentIndex struct {
	mu sync.Mutex
	// Guarded by mu.
	list  []*recentEvent // those that it knows
	first uint64         // number of the first in list, or of the next one
	all   []uint64       // numbers of those that are found by no room
	rooms map[string][]uint64
}

func newRecentEvents(limit int, retain time.Duration) *recentEvents {
	return &recentEvents{limit: limit, retain: retain, first: 1, index: recentIndex{first: 1}}
}

// nextLocked is the number of the next one.
func (r *recentEvents) nextLocked() uint64 { return r.first + uint64(len(r.list)) }

// addLocked adds one and forgets what is too old, or too much, but never the newest.
func (r *recentEvents) addLocked(e *recentEvent) {
	r.list = append(r.list, e)
	r.bytes += e.bytes
	r.forgetLocked(e.at)
}

func (r *recentEvents) forgetLocked(now time.Time) {
	n := 0
	for ; n < len(r.list)-1 && (r.bytes > r.limit || now.Sub(r.list[n].at) > r.retain); n++ {
		r.bytes -= r.list[n].bytes
		r.base, r.list[n] = r.list[n].offset, nil
	}
	r.list = r.list[n:]
	r.first += uint64(n)
}

// clearLocked forgets all of them, and has none follow the last one: a number is left out, which is that of the base.
func (r *recentEvents) clearLocked(base string) {
	r.first, r.list, r.bytes, r.base = r.nextLocked()+1, nil, 0, base
}

// recount takes what those take that were opened, from a number on.
func (r *recentEvents) recount(number uint64, opened []*recentEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, e := range opened {
		if number+uint64(i) < r.first { // forgotten meanwhile
			continue
		}
		cost := e.event.cost()
		r.bytes += cost - e.bytes
		e.bytes = cost
	}
	if n := len(r.list); n > 0 {
		r.forgetLocked(r.list[n-1].at)
	}
}

// tidy has the index forget what is forgotten, unless somebody is using it.
func (r *recentEvents) tidy() {
	if r.index.mu.TryLock() {
		defer r.index.mu.Unlock()
		r.index.forgetLocked(r.firstNumber())
	}
}

func (r *recentEvents) firstNumber() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first
}

// missed returns what came after a number for a socket in some rooms, and the last one that it has looked at with its number; nil if there
// is none. It returns ErrHistoryGap if some of that is forgotten, or the number is none of these, and ErrHistoryLimit.
func (r *recentEvents) missed(after uint64, rooms []string, limits HistoryLimits) (events []parser.Payload, end uint64, last *recentEvent, err error) {
	x := &r.index
	x.mu.Lock()
	defer x.mu.Unlock()
	r.bringUpToDateLocked()
	end = x.first + uint64(len(x.list)) - 1
	if after+1 < x.first || after > end {
		return nil, 0, nil, ErrHistoryGap
	}
	if n := len(x.list); n > 0 {
		last = x.list[n-1]
	}
	bytes := 0
	for _, number := range x.numbersLocked(after, rooms) {
		e := x.list[number-x.first].event
		if !e.selection.Selects(rooms) {
			continue
		}
		events = append(events, e.payload)
		if bytes += e.bytes; bytes > limits.Bytes || len(events) > limits.Packets {
			return nil, 0, nil, ErrHistoryLimit
		}
	}
	return events, end, last, nil
}

// indexStep is how many are indexed while none can be added.
const indexStep = 256

// bringUpToDateLocked indexes what has come; the lock of the index is held.
func (r *recentEvents) bringUpToDateLocked() {
	x := &r.index
	var step [indexStep]*recentEvent
	for end := uint64(math.MaxUint64); ; {
		r.mu.Lock()
		end = min(end, r.nextLocked()) // what comes from now on is not waited for
		first := r.first
		next := max(x.first+uint64(len(x.list)), first) // what lies before was forgotten meanwhile
		n := copy(step[:], r.list[next-first:])
		r.mu.Unlock()
		x.forgetLocked(first)
		for _, e := range step[:n] {
			x.addLocked(e)
		}
		r.recount(next, step[:n])
		if next+uint64(n) >= end {
			break
		}
	}
	x.forgetLocked(r.firstNumber())
}

// forgetLocked forgets those before a number.
func (x *recentIndex) forgetLocked(first uint64) {
	for len(x.list) > 0 && x.first < first {
		if e := x.list[0].event; e != nil {
			x.removeLocked(e)
		}
		x.list[0] = nil
		x.list = x.list[1:]
		x.first++
	}
	x.first = max(x.first, first)
}

// removeLocked removes the oldest that is known.
func (x *recentIndex) removeLocked(e *openedEvent) {
	if len(e.rooms) == 0 {
		x.all = x.all[1:]
	}
	for _, room := range e.rooms {
		if list := x.rooms[room][1:]; len(list) > 0 {
			x.rooms[room] = list
		} else {
			delete(x.rooms, room)
		}
	}
}

// addLocked takes the next one.
func (x *recentIndex) addLocked(e *recentEvent) {
	number := x.first + uint64(len(x.list))
	x.list = append(x.list, e)
	if e.open != nil {
		e.event, e.open = e.open(), nil
	}
	switch {
	case e.event == nil:
		return
	case len(e.event.rooms) == 0:
		x.all = append(x.all, number)
	case x.rooms == nil:
		x.rooms = make(map[string][]uint64)
	}
	for _, room := range e.event.rooms {
		x.rooms[room] = append(x.rooms[room], number)
	}
}

// numbersLocked returns the numbers of those that came after one and may be for a socket in some rooms, sorted.
func (x *recentIndex) numbersLocked(after uint64, rooms []string) []uint64 {
	behind := func(list []uint64) []uint64 {
		i, found := slices.BinarySearch(list, after)
		if found {
			i++
		}
		return list[i:]
	}
	numbers := slices.Clone(behind(x.all))
	for _, room := range rooms {
		numbers = append(numbers, behind(x.rooms[room])...)
	}
	slices.Sort(numbers)
	return slices.Compact(numbers)
}
