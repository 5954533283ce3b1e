package rooms

import "sync"

// fewExcept is the number of excluded members up to which a linear scan beats a map.
const fewExcept = 8

// maxPooled bounds what a pool may keep of a one-time huge selection.
const maxPooled = 1 << 16

// Selector runs selections with pooled memory. One Selector serves one index type; the zero value is ready and may be
// used concurrently.
type Selector[M Member] struct {
	slices sync.Pool // *[]M
	marks  sync.Pool // map[M]struct{}
}

// Select calls use with the connected members that are in at least one of the rooms (all of them when rooms is empty)
// and in none of except, each once. A room name equal to a member's id means that member. The slice is valid only
// during the call; no lock is held then.
func (s *Selector[M]) Select(ix *Index[M], rooms, except []string, use func([]M)) {
	p := s.takeSlice()
	all := collect(ix, (*p)[:0], rooms)
	members := all
	if len(rooms) > 1 {
		members = s.unique(members)
	}
	if len(members) > 0 && len(except) > 0 {
		members = s.exclude(ix, members, except)
	}
	if len(members) > 0 {
		use(members)
	}
	s.putSlice(p, all)
}

func (s *Selector[M]) takeSlice() *[]M {
	if p, _ := s.slices.Get().(*[]M); p != nil {
		return p
	}
	return new([]M)
}

// putSlice gives back p for which used stands now. Beyond it the memory has not been touched.
func (s *Selector[M]) putSlice(p *[]M, used []M) {
	if cap(used) > maxPooled {
		return
	}
	clear(used)
	*p = used[:0]
	s.slices.Put(p)
}

// collect appends the members of the rooms, of all rooms when there are none. A member of several rooms comes several
// times.
func collect[M Member](ix *Index[M], dst []M, rooms []string) []M {
	if len(rooms) == 0 {
		for i := range ix.shards {
			sh := &ix.shards[i]
			sh.mu.RLock()
			dst = append(dst, sh.live...)
			sh.mu.RUnlock()
		}
		return dst
	}
	for _, name := range rooms {
		dst = ix.appendRoom(dst, name, false)
	}
	return dst
}

// appendRoom adds the members of one room. Members that are not connected are skipped unless all is set.
func (ix *Index[M]) appendRoom(dst []M, name string, all bool) []M {
	sh := ix.shard(name)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	owner, own := sh.ids[name]
	if own {
		dst = append(dst, owner)
	}
	r := sh.rooms[name]
	if r == nil {
		return dst
	}
	for _, m := range r.members {
		if all || m.RoomSet().Live() {
			dst = append(dst, m)
		}
	}
	return dst
}

// unique removes duplicates in place and keeps the order of first appearance.
func (s *Selector[M]) unique(members []M) []M {
	if len(members) < 2 {
		return members
	}
	seen := s.takeMarks()
	kept := members[:0]
	for _, m := range members {
		if _, dup := seen[m]; !dup {
			seen[m] = struct{}{}
			kept = append(kept, m)
		}
	}
	s.putMarks(seen)
	return kept
}

func (s *Selector[M]) exclude(ix *Index[M], members []M, except []string) []M {
	p := s.takeSlice()
	out := (*p)[:0]
	defer func() { s.putSlice(p, out) }()
	for _, name := range except {
		out = ix.appendRoom(out, name, true)
	}
	if len(out) == 0 {
		return members
	}
	kept := members[:0]
	if len(out) <= fewExcept {
		for _, m := range members {
			if !contains(out, m) {
				kept = append(kept, m)
			}
		}
		return kept
	}
	marks := s.takeMarks()
	for _, m := range out {
		marks[m] = struct{}{}
	}
	for _, m := range members {
		if _, excluded := marks[m]; !excluded {
			kept = append(kept, m)
		}
	}
	s.putMarks(marks)
	return kept
}

func contains[M Member](list []M, m M) bool {
	for _, x := range list {
		if x == m {
			return true
		}
	}
	return false
}

func (s *Selector[M]) takeMarks() map[M]struct{} {
	if m, _ := s.marks.Get().(map[M]struct{}); m != nil {
		return m
	}
	return make(map[M]struct{})
}

func (s *Selector[M]) putMarks(m map[M]struct{}) {
	if len(m) > maxPooled {
		return
	}
	clear(m)
	s.marks.Put(m)
}
