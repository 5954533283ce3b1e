package kafkaadapter

import (
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// sessionKey is what a session is found by.
type sessionKey struct{ namespace, pid string }

// sessionEntry is what is kept of a session.
type sessionEntry struct {
	text   string
	holder adapter.NodeID // "" if nobody holds it
	until  int64          // in milliseconds by the broker's clock
}

// sessionTable is what the records of the topic say: the same on all nodes that have read as far, because what becomes of a step is decided
// by its place and by the broker's clock. A node that has read all of the last two lifetimes of sessions knows what one knows that was
// always there: what it does not know of was over by then. It is not for concurrent use.
type sessionTable struct {
	entries map[sessionKey]sessionEntry
	newest  int64     // the latest time of a record
	heard   time.Time // when that was read, by this node's clock
}

// sessionTold is what a step has done.
type sessionTold struct {
	held bool   // the session is its holder's, or was there
	text string // of a session that was taken or looked at; "" if there is none
}

// take does a step, whose record the broker has stamped.
func (t *sessionTable) take(namespace string, s *sessionStep, stamp time.Time) sessionTold {
	now := stamp.UnixMilli()
	if now > t.newest {
		t.newest, t.heard = now, time.Now()
	}
	key := sessionKey{namespace, s.pid}
	e, there := t.entries[key]
	if there && e.until <= now {
		delete(t.entries, key)
		e, there = sessionEntry{}, false
	}
	held := !there || e.holder == "" || e.holder == s.holder
	until := now + s.ttl.Milliseconds()
	switch s.do {
	case sessionKeep:
		if held {
			t.entries[key] = sessionEntry{s.text, s.holder, until}
		}
		return sessionTold{held: held}
	case sessionRemove:
		if held {
			delete(t.entries, key)
		}
		return sessionTold{held: held}
	case sessionSave:
		t.entries[key] = sessionEntry{s.text, "", until}
		return sessionTold{held: true}
	case sessionDelete:
		delete(t.entries, key)
	case sessionTake:
		if there {
			e.holder = s.holder
			t.entries[key] = e
		}
	}
	return sessionTold{held: there, text: e.text}
}

// expire forgets what is over by now, as far as this node knows the broker's clock.
func (t *sessionTable) expire() {
	now := t.newest + time.Since(t.heard).Milliseconds()
	for key, e := range t.entries {
		if e.until <= now {
			delete(t.entries, key)
		}
	}
}
