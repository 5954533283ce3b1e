package membership

import (
	"log/slog"
	"maps"
	"slices"
	"time"
)

// Change is something that has happened to a member. Its slices are shared by all watchers and may not be changed.
type Change struct {
	Node   Node     // as it is after the change
	Was    State    // before it; of a newcomer the same as Node.State
	Known  bool     // false for a newcomer
	Served []string // topics that it serves from now on, sorted
	// Unserved are topics that it does not serve any more, sorted; all of them if its life is over.
	Unserved []string
	// At is when it was noticed, except for what a watcher begins with.
	At time.Time
	// Reason is "hello", "back", "topics", "draining", "heard", "silence", "unanswered", "absent", "good-bye", "replaced", "new life", or
	// "known" for what a watcher begins with.
	Reason string
}

// Back reports whether the node was cut off from the broker and hears again since At: what was sent to it before may be lost.
func (c *Change) Back() bool { return c.Reason == reasonBack }

// Reasons of changes.
const (
	reasonKnown      = "known"      // a member that was there when the watcher came
	reasonHello      = "hello"      // a newcomer, or one that is called differently now
	reasonBack       = "back"       // it was cut off from the broker: what was sent to it until now may be lost
	reasonTopics     = "topics"     // it serves others
	reasonDraining   = "draining"   // it drains, or does not any more
	reasonHeard      = "heard"      // it was silent or absent
	reasonSilence    = "silence"    // nothing was heard for longer than it promised, or if its life is over for OverAfter
	reasonUnanswered = "unanswered" // a question ran out
	reasonAbsent     = "absent"     // the broker says so
	reasonBye        = "good-bye"   // it said so
	reasonReplaced   = "replaced"   // its name belongs to another life
	reasonNewLife    = "new life"   // it goes on with another life, since others had declared this one over
)

// watcher is one that was given to Watch.
type watcher struct {
	f       func(Change)
	stopped bool // guarded by Members.mu
}

// notice is something to be told with no lock held.
type notice struct {
	// One of the following.
	change *Change // to the watchers in to
	self   *Node   // to OnSelf
	record *record // to the logger

	to []*watcher
}

type record struct {
	level slog.Level
	text  string
	attrs []any
}

// Watch tells f each change, in order and one at a time, on a goroutine that all watchers share. It begins with one
// change for each known member, by name. No lock is held meanwhile, so that f may call everything but Close; a slow f holds
// up the other watchers and OnSelf, and what is to be told gathers in memory. After stop has returned no further call
// begins.
func (m *Members) Watch(f func(Change)) (stop func()) {
	w := &watcher{f: f}
	m.mu.Lock()
	defer m.unlock()
	for _, mem := range m.byNameLocked() {
		c := &Change{Node: mem.node, Was: mem.node.State, Served: slices.Sorted(maps.Keys(mem.topics)), Reason: reasonKnown}
		m.noteLocked(notice{change: c, to: []*watcher{w}})
	}
	m.watchers = append(slices.Clip(m.watchers), w)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		w.stopped = true
		m.watchers = slices.DeleteFunc(slices.Clone(m.watchers), func(other *watcher) bool { return other == w })
	}
}

func (m *Members) noteLocked(n notice) {
	if !m.closed {
		m.notices = append(m.notices, n)
	}
}

func (m *Members) changedLocked(c Change) {
	if len(m.watchers) > 0 {
		c.At = time.Now()
		m.noteLocked(notice{change: &c, to: m.watchers})
	}
}

func (m *Members) logLocked(level slog.Level, text string, attrs ...any) {
	m.noteLocked(notice{record: &record{level, text, attrs}})
}

// dispatch calls watchers, OnSelf and the logger.
func (m *Members) dispatch() {
	for {
		m.mu.Lock()
		notices := m.notices
		m.notices = nil
		m.mu.Unlock()
		for _, n := range notices {
			m.deliver(n)
		}
		if len(notices) > 0 {
			continue
		}
		select {
		case <-m.ctx.Done():
			return
		case <-m.news:
		}
	}
}

func (m *Members) deliver(n notice) {
	switch {
	case m.ctx.Err() != nil:
	case n.record != nil:
		m.log.Log(m.ctx, n.record.level, n.record.text, n.record.attrs...)
	case n.self != nil:
		if m.opts.OnSelf != nil {
			m.opts.OnSelf(*n.self)
		}
	default:
		for _, w := range n.to {
			m.mu.Lock()
			stopped := w.stopped
			m.mu.Unlock()
			if !stopped {
				w.f(*n.change)
			}
		}
	}
}
