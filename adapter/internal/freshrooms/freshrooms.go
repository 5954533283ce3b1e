// Package freshrooms remembers the rooms that sockets of other nodes have just been made to join. Where rooms have channels of their
// own nobody has subscribed to those of these rooms before the message has arrived there, so that what comes next for the rooms goes to
// all nodes.
package freshrooms

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// For is how long other nodes may take to subscribe to a room that their sockets were made to join.
const For = 5 * time.Second

// maxFresh is how many rooms are remembered. With more, all rooms count as fresh.
const maxFresh = 10_000

// Rooms are the fresh rooms of one node or emitter. The zero value has none. All methods may be called concurrently.
type Rooms struct {
	some atomic.Bool // there may be some

	mu sync.Mutex
	// Guarded by mu.
	until   map[string]time.Time
	tooMany time.Time // until then all rooms are fresh
}

// Note remembers for a while the rooms that a message has sockets join. Other messages are none of its business.
func (r *Rooms) Note(m *adapter.Message, within time.Duration) {
	if m.Kind != adapter.KindJoin {
		return
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.some.Store(true)
	if r.until == nil {
		r.until = make(map[string]time.Time)
	}
	if len(r.until)+len(m.Rooms) > maxFresh {
		r.forgetLocked(now)
	}
	for _, room := range m.Rooms {
		if len(r.until) >= maxFresh {
			r.tooMany = now.Add(within)
			return
		}
		r.until[room] = now.Add(within)
	}
}

// ToAll reports whether a message to one room has to go to all nodes: because the room is fresh, or because it was when the message got
// a number, which all nodes wait for.
func (r *Rooms) ToAll(m *adapter.Message) bool { return m.Seq > 0 || r.has(m.Selection.Rooms[0]) }

// has reports whether a room is one of them.
func (r *Rooms) has(room string) bool {
	if !r.some.Load() {
		return false
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	until, noted := r.until[room]
	if noted && !until.After(now) {
		r.forgetLocked(now)
	}
	return until.After(now) || r.tooMany.After(now)
}

func (r *Rooms) forgetLocked(now time.Time) {
	maps.DeleteFunc(r.until, func(_ string, until time.Time) bool { return !until.After(now) })
	r.some.Store(len(r.until) > 0 || r.tooMany.After(now))
}
