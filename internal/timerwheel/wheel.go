// Package timerwheel runs many coarse deadlines on one goroutine.
//
// An Entry is embedded in whatever has the deadline and costs no allocation; setting, moving and cancelling one are
// O(1). The goroutine exists only while entries are set. Time comes from package time, so a Wheel that is created
// inside a testing/synctest bubble follows the bubble's clock.
package timerwheel

import (
	"sync"
	"time"
)

// slots times the tick is the span that one turn of the wheel covers; entries further away stay for several turns.
const slots = 4096

// maxDelay keeps the arithmetic from overflowing; it is far beyond the life of a process.
const maxDelay = 1 << 62

// Timer is what an Entry belongs to.
type Timer interface {
	// Expired runs on the wheel's goroutine and must not block. The entry is not set at that time, unless another
	// goroutine has set it anew meanwhile: a Timer that is also touched by others checks Pending or its own state under
	// its own lock before it acts.
	Expired(e *Entry)
}

// Entry is one deadline. The zero value is ready; it must not be copied while set.
type Entry struct {
	// Guarded by the wheel's lock.
	next, prev *Entry
	timer      Timer
	due        time.Duration // since the wheel's start, not rounded
	state      state
}

type state uint8

const (
	unset state = iota
	set
	firing // off the wheel, about to be reported
)

// Wheel holds the entries. Its methods may be called from any goroutine, also from Expired.
type Wheel struct {
	// Static after construction.
	tick  time.Duration
	start time.Time
	spawn func(func())
	wake  chan struct{}

	mu sync.Mutex
	// Guarded by mu.
	heads   []*Entry // made by the first Set
	count   int
	cursor  int64 // every tick up to and including this one has been reported
	sleepTo int64 // the tick the goroutine sleeps to
	running bool
}

// New returns a wheel with the given resolution: an entry fires at its deadline or up to one tick later. Spawn starts
// the wheel's goroutine; nil means a plain go statement.
func New(tick time.Duration, spawn func(func())) *Wheel {
	if spawn == nil {
		spawn = func(f func()) { go f() }
	}
	return &Wheel{tick: tick, start: time.Now(), spawn: spawn, wake: make(chan struct{}, 1)}
}

// Set makes e fire once, d from now, in place of any earlier setting.
func (w *Wheel) Set(e *Entry, t Timer, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.state == set {
		w.unlinkLocked(e)
	}
	now := time.Since(w.start)
	if w.heads == nil {
		w.heads = make([]*Entry, slots)
	}
	if !w.running {
		w.cursor = int64(now / w.tick)
	}
	e.timer, e.state = t, set
	// What is due by now fires in the next tick: the one at the cursor has been reported.
	e.due = max(now+min(max(d, 0), maxDelay), time.Duration(w.cursor)*w.tick+1)
	w.linkLocked(e)
	switch {
	case !w.running:
		w.running = true
		w.sleepTo = 0
		w.spawn(w.run)
	case w.tickOf(e) < w.sleepTo:
		w.wakeLocked()
	}
}

// Cancel unsets e. It reports whether e was set and will not fire; false also means that it may be firing right now.
func (w *Wheel) Cancel(e *Entry) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := e.state
	if was == set {
		w.unlinkLocked(e)
		if w.count == 0 {
			w.wakeLocked()
		}
	}
	e.state = unset
	return was != unset
}

// Pending reports whether e is set. From Expired it tells, under the lock that also guards the calls of Set, whether
// another goroutine has set e anew meanwhile; unlike a comparison with a clock it is right when clocks are corrected.
func (w *Wheel) Pending(e *Entry) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return e.state == set
}

// Len returns the number of entries that are set.
func (w *Wheel) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

// Late returns how long ago e has been due, by its last setting, whether it has fired or not; before that it is negative. An
// entry fires up to a tick late, or more on a busy machine; by this a Timer can act as if it had not.
func (w *Wheel) Late(e *Entry) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.start) - e.due
}

// tickOf is the tick in which e fires: rounded up, so that it is never early.
func (w *Wheel) tickOf(e *Entry) int64 { return int64((e.due + w.tick - 1) / w.tick) }

func (w *Wheel) headOf(e *Entry) **Entry { return &w.heads[w.tickOf(e)%slots] }

func (w *Wheel) linkLocked(e *Entry) {
	head := w.headOf(e)
	e.prev, e.next = nil, *head
	if *head != nil {
		(*head).prev = e
	}
	*head = e
	w.count++
}

func (w *Wheel) unlinkLocked(e *Entry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		*w.headOf(e) = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	}
	e.next, e.prev = nil, nil
	w.count--
}

func (w *Wheel) wakeLocked() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run is the wheel's goroutine. It ends when no entry is left.
func (w *Wheel) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var due []*Entry
	for {
		var sleep time.Duration
		var more bool
		due, sleep, more = w.advance(due[:0])
		for i, e := range due {
			due[i] = nil
			w.fire(e)
		}
		if !more {
			return
		}
		if sleep <= 0 {
			continue
		}
		timer.Reset(sleep)
		select {
		case <-timer.C:
		case <-w.wake:
		}
	}
}

// advance takes the entries that are due off the wheel. If there are none, it says how long to sleep for the next one;
// more is false when the goroutine is to end.
func (w *Wheel) advance(due []*Entry) (_ []*Entry, sleep time.Duration, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	elapsed := time.Since(w.start)
	now := int64(elapsed / w.tick)
	// After a long pause of the process one turn finds everything that is due.
	for t := max(w.cursor+1, now-slots+1); t <= now && w.count > 0; t++ {
		due = w.collectLocked(t%slots, now, due)
	}
	w.cursor = max(w.cursor, now)
	if len(due) > 0 {
		return due, 0, true
	}
	if w.count == 0 {
		w.running = false
		return due, 0, false
	}
	w.sleepTo = w.cursor + 1
	for w.heads[w.sleepTo%slots] == nil {
		w.sleepTo++
	}
	return due, time.Duration(w.sleepTo)*w.tick - elapsed, true
}

// collectLocked appends the entries of one slot that are due. They are remembered outside of the entries, whose links
// may be needed for a new setting before they are reported.
func (w *Wheel) collectLocked(slot, now int64, due []*Entry) []*Entry {
	for e := w.heads[slot]; e != nil; {
		next := e.next
		if w.tickOf(e) <= now {
			w.unlinkLocked(e)
			e.state = firing
			due = append(due, e)
		}
		e = next
	}
	return due
}

// fire reports e unless it was cancelled or set anew since it was taken off the wheel.
func (w *Wheel) fire(e *Entry) {
	w.mu.Lock()
	ok := e.state == firing
	if ok {
		e.state = unset
	}
	t := e.timer
	w.mu.Unlock()
	if ok {
		t.Expired(e)
	}
}
