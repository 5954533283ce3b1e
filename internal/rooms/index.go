// Package rooms is the index of a namespace: which members are in which rooms of this node.
//
// A room is a slice of members; a member knows its position in each of its rooms, so that leaving is a swap with the
// last one and costs the same in a room of ten and of a million. The index is sharded by room name and by member id.
// The room named like a member's id (its own room) is implicit: it is found through the id table and costs nothing.
//
// Locks: shard > member set. A shard lock is never taken while another one is held, and callbacks run without any.
package rooms

import (
	"hash/maphash"
	"math"
	"sync"
)

// shardCount bounds contention; an empty index stays around 2 KB, because a server may hold many small namespaces.
const shardCount = 32

// Member is what the index keeps. It is a pointer type in practice: it is compared and copied freely.
type Member interface {
	comparable
	// RoomID returns the member's id, which is also the name of its own room. It never changes.
	RoomID() string
	// RoomSet returns the set embedded in the member, always the same one.
	RoomSet() *Set
}

// Observer is told when a room gets its first member and loses its last one, own rooms included. Calls for one index
// come one at a time and in order, from whichever goroutine changed a room, and never with a lock held. When another
// goroutine is delivering at that moment, Add may return before its own calls have been made.
type Observer interface {
	RoomCreated(room string)
	RoomDeleted(room string)
}

// Index maps rooms to members. All methods may be called concurrently.
type Index[M Member] struct {
	// Static after construction.
	seed maphash.Seed

	notify *notifier // static after Observe; nil without an observer

	shards [shardCount]shard[M]
}

type shard[M Member] struct {
	mu    sync.RWMutex
	rooms map[string]*room[M]
	ids   map[string]M
	live  []M // the members of ids, densely, for selections without rooms
}

type room[M Member] struct {
	members []M
}

// New returns an empty index.
func New[M Member]() *Index[M] { return &Index[M]{seed: maphash.MakeSeed()} }

// Observe sets the observer. It must be called before the first change of the index, if at all.
func (ix *Index[M]) Observe(observer Observer) { ix.notify = &notifier{observer: observer} }

func (ix *Index[M]) shard(name string) *shard[M] {
	return &ix.shards[maphash.String(ix.seed, name)%shardCount]
}

// Connect makes a member selectable and findable by its id. It reports false when the member has been removed already,
// is connected already, or when its id is taken. It may be called with locks held, and therefore leaves it to the caller to
// tell the observer with Flush.
func (ix *Index[M]) Connect(m M) bool {
	set, id := m.RoomSet(), m.RoomID()
	sh := ix.shard(id)
	sh.mu.Lock()
	set.mu.Lock()
	_, taken := sh.ids[id]
	ok := !taken && set.stage.Load() == stageNew
	if ok {
		if sh.ids == nil {
			sh.ids = make(map[string]M)
		}
		sh.ids[id] = m
		set.slot = int32(len(sh.live))
		sh.live = append(sh.live, m)
		set.stage.Store(stageLive)
		if sh.rooms[id] == nil {
			ix.notify.pushLocked(id, true)
		}
	}
	set.mu.Unlock()
	sh.mu.Unlock()
	return ok
}

// Flush tells the observer what Connect and RemoveAll have changed. No lock may be held.
func (ix *Index[M]) Flush() { ix.notify.flush() }

// Change is how many rooms a call has changed, and the bytes of their names.
type Change struct{ Rooms, Bytes int }

func (c *Change) add(name string) {
	c.Rooms++
	c.Bytes += len(name)
}

// Result is how an Add went.
type Result uint8

// Results of AddWithin.
const (
	Added Result = iota
	Full         // the member would be in too many rooms; nothing has changed
	Gone         // the member has been removed
)

// Add puts a member into rooms. It reports false, and changes nothing more, once the member has been removed: whoever
// loses the race against RemoveAll leaves nothing behind.
func (ix *Index[M]) Add(m M, rooms ...string) bool {
	_, result := ix.AddWithin(m, math.MaxInt, rooms...)
	return result != Gone
}

// AddWithin is Add for a member that may be in a number of rooms, its own not counted: it joins all that are given or none.
// It tells which of them it was not in before; after Gone, RemoveAll tells its caller of them too.
func (ix *Index[M]) AddWithin(m M, most int, rooms ...string) (Change, Result) {
	var c Change
	set, id := m.RoomSet(), m.RoomID()
	if !set.reserve(id, rooms, most) {
		return c, Full
	}
	result := Added
	for _, name := range rooms {
		if name == id {
			if set.stage.Load() == stageRemoved {
				result = Gone
			}
			continue
		}
		added, ok := ix.addOne(m, name)
		if added {
			c.add(name)
		}
		if !ok {
			result = Gone
		}
	}
	ix.notify.flush()
	return c, result
}

// addOne uses up what was reserved for one room.
func (ix *Index[M]) addOne(m M, name string) (added, ok bool) {
	set := m.RoomSet()
	sh := ix.shard(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	set.mu.Lock()
	defer set.mu.Unlock()
	set.reserved--
	if set.stage.Load() == stageRemoved {
		return false, false
	}
	if set.findLocked(name) >= 0 {
		return false, true
	}
	r := sh.rooms[name]
	if r == nil {
		if sh.rooms == nil {
			sh.rooms = make(map[string]*room[M])
		}
		r = &room[M]{}
		sh.rooms[name] = r
		if _, own := sh.ids[name]; !own {
			ix.notify.pushLocked(name, true)
		}
	}
	set.addLocked(name, int32(len(r.members)))
	r.members = append(r.members, m)
	return true, true
}

// Remove takes a member out of rooms, and tells which of them it was in. Its own room cannot be left.
func (ix *Index[M]) Remove(m M, rooms ...string) (c Change) {
	for _, name := range rooms {
		if ix.removeOne(m, name) {
			c.add(name)
		}
	}
	ix.notify.flush()
	return c
}

func (ix *Index[M]) removeOne(m M, name string) bool {
	set := m.RoomSet()
	sh := ix.shard(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	set.mu.Lock()
	i := set.findLocked(name)
	if i < 0 {
		set.mu.Unlock()
		return false
	}
	pos := int(set.entries[i].pos)
	set.deleteLocked(i)
	set.mu.Unlock()

	r := sh.rooms[name]
	last := len(r.members) - 1
	if pos != last {
		moved := r.members[last]
		r.members[pos] = moved
		moved.RoomSet().setPos(name, int32(pos))
	}
	var zero M
	r.members[last] = zero
	r.members = r.members[:last]
	if last == 0 {
		delete(sh.rooms, name)
		if _, own := sh.ids[name]; !own {
			ix.notify.pushLocked(name, false)
		}
		return true
	}
	// A room that was once huge must not keep its memory for ever.
	if cap(r.members) > 64 && last < cap(r.members)/4 {
		r.members = append(make([]M, 0, cap(r.members)/2), r.members...)
	}
	return true
}

// RemoveAll disconnects a member: from now on it is in no room, is not selected and cannot join. It returns the rooms
// the member was in, its own room first if it was connected; nil on every call but the first. The change is what it has
// done to them, where a Remove at the same time has not. It may be called with locks held, as Connect may, and leaves it to
// the caller to tell the observer with Flush.
func (ix *Index[M]) RemoveAll(m M) (rooms []string, c Change) {
	set, id := m.RoomSet(), m.RoomID()
	sh := ix.shard(id)
	sh.mu.Lock()
	set.mu.Lock()
	before := set.stage.Load()
	set.stage.Store(stageRemoved)
	rooms = make([]string, 0, len(set.entries)+1)
	if before == stageLive {
		rooms = append(rooms, id)
	}
	for i := range set.entries {
		rooms = append(rooms, set.entries[i].room)
	}
	set.mu.Unlock()
	if before == stageLive {
		ix.unlistLocked(sh, m)
		if sh.rooms[id] == nil {
			ix.notify.pushLocked(id, false)
		}
	}
	sh.mu.Unlock()
	if before == stageRemoved {
		return nil, c
	}
	for _, name := range rooms {
		if name != id && ix.removeOne(m, name) {
			c.add(name)
		}
	}
	return rooms, c
}

// unlistLocked takes m out of its shard's id table and live list.
func (ix *Index[M]) unlistLocked(sh *shard[M], m M) {
	delete(sh.ids, m.RoomID())
	pos, last := int(m.RoomSet().slot), len(sh.live)-1
	if pos != last {
		sh.live[pos] = sh.live[last]
		sh.live[pos].RoomSet().slot = int32(pos)
	}
	var zero M
	sh.live[last] = zero
	sh.live = sh.live[:last]
	if last == 0 {
		sh.live, sh.ids = nil, nil
	}
}

// Lookup finds a connected member by its id.
func (ix *Index[M]) Lookup(id string) (M, bool) {
	sh := ix.shard(id)
	sh.mu.RLock()
	m, ok := sh.ids[id]
	sh.mu.RUnlock()
	return m, ok
}

// Has reports whether some member is in the room, or is the room's owner.
func (ix *Index[M]) Has(name string) bool {
	sh := ix.shard(name)
	sh.mu.RLock()
	_, own := sh.ids[name]
	_, in := sh.rooms[name]
	sh.mu.RUnlock()
	return own || in
}

// In reports whether the member is in the room.
func (ix *Index[M]) In(m M, name string) bool {
	set := m.RoomSet()
	if name == m.RoomID() {
		return set.Live()
	}
	set.mu.Lock()
	defer set.mu.Unlock()
	return set.stage.Load() != stageRemoved && set.findLocked(name) >= 0
}

// Rooms returns the rooms of a member, its own room first if it is connected. After RemoveAll it returns nil.
func (ix *Index[M]) Rooms(m M) []string {
	set := m.RoomSet()
	set.mu.Lock()
	defer set.mu.Unlock()
	stage := set.stage.Load()
	if stage == stageRemoved {
		return nil
	}
	rooms := make([]string, 0, len(set.entries)+1)
	if stage == stageLive {
		rooms = append(rooms, m.RoomID())
	}
	for i := range set.entries {
		rooms = append(rooms, set.entries[i].room)
	}
	return rooms
}

// AllRooms returns every room that has a member, own rooms included, in no particular order.
func (ix *Index[M]) AllRooms() []string {
	var all []string
	for i := range ix.shards {
		sh := &ix.shards[i]
		sh.mu.RLock()
		for name := range sh.rooms {
			all = append(all, name)
		}
		for id := range sh.ids {
			if sh.rooms[id] == nil {
				all = append(all, id)
			}
		}
		sh.mu.RUnlock()
	}
	return all
}

// Len returns the number of connected members.
func (ix *Index[M]) Len() int {
	n := 0
	for i := range ix.shards {
		sh := &ix.shards[i]
		sh.mu.RLock()
		n += len(sh.live)
		sh.mu.RUnlock()
	}
	return n
}

// RoomCount returns the number of rooms that were joined; own rooms are not counted.
func (ix *Index[M]) RoomCount() int {
	n := 0
	for i := range ix.shards {
		sh := &ix.shards[i]
		sh.mu.RLock()
		n += len(sh.rooms)
		sh.mu.RUnlock()
	}
	return n
}
