package auth

import (
	"sync"
	"time"
)

// subjects knows the sessions of each user on this node. Rooms do not tell: an application takes sockets out of them as it likes.
type subjects struct {
	mu sync.Mutex
	// Guarded by mu.
	sessions map[string][]*session
	calls    uint64            // how often kick was called
	young    map[string]uint64 // users that were disconnected a short while ago, at which call
	old      map[string]uint64 // those of the minute before
	turned   time.Time         // when young became old
}

// kickedFor is how long, at least, a user's sockets that are on their way are disconnected when they join.
const kickedFor = time.Minute

// admit notes when a session was let in.
func (i *subjects) admit(s *session) {
	i.mu.Lock()
	defer i.mu.Unlock()
	s.admitted = i.calls
}

// add takes in a session that has joined. It reports whether the user was disconnected meanwhile.
func (i *subjects) add(s *session) (kicked bool) {
	user := s.claims.Load().Subject
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.sessions == nil {
		i.sessions = make(map[string][]*session)
	}
	s.place = len(i.sessions[user])
	i.sessions[user] = append(i.sessions[user], s)
	return max(i.young[user], i.old[user]) > s.admitted
}

// remove forgets a session that has gone, if it is there.
func (i *subjects) remove(s *session) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.removeLocked(s)
}

func (i *subjects) removeLocked(s *session) {
	user := s.claims.Load().Subject
	list := i.sessions[user]
	if s.place >= len(list) || list[s.place] != s {
		return
	}
	last := len(list) - 1
	list[s.place] = list[last]
	list[s.place].place = s.place
	list[last] = nil
	if i.sessions[user] = list[:last]; last == 0 {
		delete(i.sessions, user)
	}
}

// forget forgets the sessions of namespaces that are not protected any more, and returns them.
func (i *subjects) forget(gone func(*session) bool) []*session {
	i.mu.Lock()
	defer i.mu.Unlock()
	var list []*session
	for _, of := range i.sessions {
		for _, s := range of {
			if gone(s) {
				list = append(list, s)
			}
		}
	}
	for _, s := range list {
		i.removeLocked(s)
	}
	return list
}

// of returns the sessions of users that are keys of a map.
func (i *subjects) of(users map[string]int64) (list []*session) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for user := range users {
		list = append(list, i.sessions[user]...)
	}
	return list
}

// kick returns the sessions of a user, and has add report those that are on their way.
func (i *subjects) kick(user string) []*session {
	i.mu.Lock()
	if i.young == nil || time.Since(i.turned) > kickedFor {
		i.old, i.young, i.turned = i.young, make(map[string]uint64), time.Now()
	}
	i.calls++
	i.young[user] = i.calls
	i.mu.Unlock()
	return i.of(map[string]int64{user: 0})
}
