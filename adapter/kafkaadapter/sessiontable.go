package kafkaadapter

import (
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

const (
	// toldFor is how much longer than its time a session is known whose end is to be told, if no node tells of it.
	toldFor = 10 * time.Minute
	// takenFor is how long one that was taken is kept at least: its new holder writes it as soon as the client has gone on.
	takenFor = 10 * time.Second
)

// sessionEntry is what is kept of a session.
type sessionEntry struct {
	text   string
	holder adapter.NodeID // "" if nobody holds it
	until  int64          // in milliseconds by the broker's clock
	tell   bool           // its end is to be told
}

// sessionTable is what the records of the topic say: the same on all nodes that have read as far, because what becomes of a step is decided
// by its place and by the broker's clock. A node that has read all of the last two lifetimes of sessions knows what one knows that was
// always there: what it does not know of was over by then. It is not for concurrent use.
//
// A session whose time is over is as one that was never there, but for sessionReap: the first one that finds it removes it, and its writer
// tells of it.
type sessionTable struct {
	entries map[string]map[string]sessionEntry // by namespace and secret
	newest  int64                              // the latest time of a record
	heard   time.Time                          // when that was read, by this node's clock
}

func newSessionTable() sessionTable {
	return sessionTable{entries: make(map[string]map[string]sessionEntry)}
}

// sessionTold is what a step has done.
type sessionTold struct {
	held bool   // the session is its holder's, or was there
	text string // of a session that was taken, looked at or is to be told of; "" if there is none
}

// take does a step, whose record the broker has stamped.
func (t *sessionTable) take(namespace string, s *sessionStep, stamp time.Time) sessionTold {
	now := stamp.UnixMilli()
	if now > t.newest {
		t.newest, t.heard = now, time.Now()
	}
	e, known := t.entries[namespace][s.pid]
	there := known && e.until > now
	held := !there || e.holder == "" || e.holder == s.holder
	until := now + s.ttl.Milliseconds()
	switch s.do {
	case sessionKeep, sessionTell:
		if held {
			t.put(namespace, s.pid, sessionEntry{s.text, s.holder, until, s.do == sessionTell})
		}
		return sessionTold{held: held}
	case sessionRemove:
		if held {
			t.remove(namespace, s.pid)
		}
		return sessionTold{held: held}
	case sessionSave:
		t.put(namespace, s.pid, sessionEntry{s.text, "", until, false})
		return sessionTold{held: true}
	case sessionReap:
		if there || !known || !e.tell {
			return sessionTold{}
		}
		t.remove(namespace, s.pid)
		return sessionTold{held: true, text: e.text}
	case sessionDelete:
		t.remove(namespace, s.pid)
	case sessionTake:
		if there {
			e.holder, e.until = s.holder, max(e.until, now+takenFor.Milliseconds())
			t.put(namespace, s.pid, e)
		}
	}
	if !there {
		return sessionTold{}
	}
	return sessionTold{held: true, text: e.text}
}

func (t *sessionTable) put(namespace, pid string, e sessionEntry) {
	if t.entries[namespace] == nil {
		t.entries[namespace] = make(map[string]sessionEntry)
	}
	t.entries[namespace][pid] = e
}

func (t *sessionTable) remove(namespace, pid string) {
	delete(t.entries[namespace], pid)
	if len(t.entries[namespace]) == 0 {
		delete(t.entries, namespace)
	}
}

// now is the broker's clock, as far as this node knows it.
func (t *sessionTable) now() int64 { return t.newest + time.Since(t.heard).Milliseconds() }

// expire forgets what is over by now, and is not to be told any more.
func (t *sessionTable) expire() {
	now := t.now()
	for namespace, sessions := range t.entries {
		for pid, e := range sessions {
			if e.until <= now && !e.tell || e.until+toldFor.Milliseconds() <= now {
				t.remove(namespace, pid)
			}
		}
	}
}

// over lists some sessions whose end is to be told by now, any of them: nodes that look at the same time find others.
func (t *sessionTable) over(namespace string, most int) (pids []string) {
	now := t.now()
	for pid, e := range t.entries[namespace] {
		if e.tell && e.until <= now {
			if pids = append(pids, pid); len(pids) == most {
				break
			}
		}
	}
	return pids
}
