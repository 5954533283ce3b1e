package natsadapter

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

const (
	// freshFor is how long other nodes may take to subscribe to a room that their sockets were made to join.
	freshFor = 5 * time.Second
	// maxFresh is how many rooms are remembered for that. With more, all rooms count as fresh.
	maxFresh = 10_000
)

// freshRooms are the rooms that this node or emitter has made sockets of other nodes join, a moment ago. The subjects of these rooms are
// not subscribed to before the message has arrived there, so that what comes next for the rooms goes to all nodes. All methods may be
// called concurrently.
type freshRooms struct {
	some atomic.Bool // there may be some

	mu sync.Mutex
	// Guarded by mu.
	until   map[string]time.Time
	tooMany time.Time // until then all rooms are fresh
}

// subjectOf chooses the subject of a message that is not for one node. What it has sockets join is fresh for a while.
func (f *freshRooms) subjectOf(n namespaceSubjects, m *adapter.Message, joinFor time.Duration) string {
	now := time.Now()
	f.note(m, now, joinFor)
	subject := n.of(m)
	if subject != n.all && f.has(m.Selection.Rooms[0], now) {
		return n.all
	}
	return subject
}

// note remembers the rooms of a message for a while.
func (f *freshRooms) note(m *adapter.Message, now time.Time, joinFor time.Duration) {
	if m.Kind != adapter.KindJoin {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.some.Store(true)
	if f.until == nil {
		f.until = make(map[string]time.Time)
	}
	if len(f.until)+len(m.Rooms) > maxFresh {
		f.forgetLocked(now)
	}
	for _, room := range m.Rooms {
		if len(f.until) >= maxFresh {
			f.tooMany = now.Add(joinFor)
			return
		}
		f.until[room] = now.Add(joinFor)
	}
}

// has reports whether a room is one of them.
func (f *freshRooms) has(room string, now time.Time) bool {
	if !f.some.Load() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	until, noted := f.until[room]
	if noted && !until.After(now) {
		f.forgetLocked(now)
	}
	return until.After(now) || f.tooMany.After(now)
}

func (f *freshRooms) forgetLocked(now time.Time) {
	maps.DeleteFunc(f.until, func(_ string, until time.Time) bool { return !until.After(now) })
	f.some.Store(len(f.until) > 0 || f.tooMany.After(now))
}
