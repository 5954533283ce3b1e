package rooms

import (
	"sync"
	"sync/atomic"
)

// smallSet is the number of rooms up to which a member's set is a plain slice: a linear search over eight short strings
// costs less than a map lookup, and a map of one entry weighs more than the whole socket.
const smallSet = 8

// Stages of a member. A member moves only forward.
const (
	stageNew     uint32 = iota // may join; not selected yet
	stageLive                  // selected by Select and found by Lookup
	stageRemoved               // may not join any more
)

// Set is the part of a member that the index owns: the rooms it is in and its place in each of them. A member embeds
// one by value; the zero value is a member in no room. It must not be copied after first use.
type Set struct {
	// stage is written with mu held and read without.
	stage atomic.Uint32

	// Guarded by the lock of the shard that holds the member's id.
	slot int32

	mu sync.Mutex
	// Guarded by mu.
	reserved int32 // rooms that are being joined
	entries  []entry
	index    map[string]int32 // room -> position in entries; nil while the set is small
}

// entry says that the member stands at position pos of a room's slice. pos is guarded by the room's shard lock and mu.
type entry struct {
	room string
	pos  int32
}

// Live reports whether the member is connected: between Connect and RemoveAll.
func (s *Set) Live() bool { return s.stage.Load() == stageLive }

// reserve takes places for rooms that are to be joined. It reports false if the member would be in more than a number of
// rooms then; names that occur twice, that of its own room and those of rooms that it is in already do not count.
func (s *Set) reserve(id string, rooms []string, most int) bool {
	n := 0
	for _, name := range rooms {
		if name != id {
			n++
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := len(s.entries) + int(s.reserved); have+n > most && have+s.freshLocked(id, rooms) > most {
		return false
	}
	s.reserved += int32(n)
	return true
}

// freshLocked counts the rooms that the member is not in.
func (s *Set) freshLocked(id string, rooms []string) int {
	fresh := make(map[string]struct{}, len(rooms))
	for _, name := range rooms {
		if name != id && s.findLocked(name) < 0 {
			fresh[name] = struct{}{}
		}
	}
	return len(fresh)
}

func (s *Set) findLocked(room string) int {
	if s.index != nil {
		if i, ok := s.index[room]; ok {
			return int(i)
		}
		return -1
	}
	for i := range s.entries {
		if s.entries[i].room == room {
			return i
		}
	}
	return -1
}

func (s *Set) addLocked(room string, pos int32) {
	if s.entries == nil {
		s.entries = make([]entry, 0, 1)
	}
	s.entries = append(s.entries, entry{room: room, pos: pos})
	switch n := len(s.entries); {
	case s.index != nil:
		s.index[room] = int32(n - 1)
	case n > smallSet:
		s.index = make(map[string]int32, 2*n)
		for i := range s.entries {
			s.index[s.entries[i].room] = int32(i)
		}
	}
}

func (s *Set) deleteLocked(i int) {
	last := len(s.entries) - 1
	if s.index != nil {
		delete(s.index, s.entries[i].room)
	}
	if i != last {
		s.entries[i] = s.entries[last]
		if s.index != nil {
			s.index[s.entries[i].room] = int32(i)
		}
	}
	s.entries[last] = entry{}
	s.entries = s.entries[:last]
	if last == 0 {
		s.entries, s.index = nil, nil
	}
}

func (s *Set) setPos(room string, pos int32) {
	s.mu.Lock()
	if i := s.findLocked(room); i >= 0 {
		s.entries[i].pos = pos
	}
	s.mu.Unlock()
}
