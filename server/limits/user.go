package limits

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/server"
)

// user is a user with connections to this node whose events are counted.
type user struct {
	name   string // static
	events bucket

	refs int // connections; guarded by its shard's lock
}

// userTable has the users with connections.
type userTable struct {
	seed   maphash.Seed
	shards [shards]userShard
}

type userShard struct {
	mu    sync.Mutex
	users map[string]*user
}

func newUserTable() *userTable {
	t := &userTable{seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].users = make(map[string]*user)
	}
	return t
}

func (t *userTable) shard(name string) *userShard {
	return &t.shards[maphash.String(t.seed, name)%shards]
}

// enter counts one more connection of a user. One that was here before begins with what it owed.
func (l *Limits) enter(name string) *user {
	s := l.users.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[name]
	if u == nil {
		u = &user{name: name}
		u.events.initDebt(&l.userEvents, l.debts.load(l.debts.ofUser(name)), l.now())
		s.users[name] = u
	}
	u.refs++
	return u
}

// leave ends it. Of a user without connections only what it owes is kept.
func (l *Limits) leave(u *user) {
	s := l.users.shard(u.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.refs--; u.refs == 0 {
		delete(s.users, u.name)
		l.debts.store(l.debts.ofUser(u.name), u.events.fullAt(&l.userEvents), l.now())
	}
}

// userSlot is the user that a connection's last event was counted for.
type userSlot struct {
	current atomic.Pointer[user]

	mu sync.Mutex
	// Guarded by mu.
	closed bool
}

// userOf asks who a socket belongs to.
func (l *Limits) userOf(s *server.Socket) string {
	if l.opts.UserOf != nil {
		return l.opts.UserOf(s)
	}
	if dir := l.directory.Load(); dir != nil {
		name, _ := dir.UserOf(s)
		return name
	}
	return ""
}

// userOf returns the user that a socket's event counts for; nil for nobody.
func (c *client) userOf(s *server.Socket) *user {
	name := c.limits.userOf(s)
	if name == "" {
		return nil
	}
	if u := c.user.current.Load(); u != nil && u.name == name {
		return u
	}
	c.user.mu.Lock()
	defer c.user.mu.Unlock()
	if c.user.closed {
		return nil
	}
	u := c.limits.enter(name)
	if former := c.user.current.Swap(u); former != nil {
		c.limits.leave(former)
	}
	return u
}

// leaveUser ends the count for the connection's user.
func (c *client) leaveUser() {
	c.user.mu.Lock()
	defer c.user.mu.Unlock()
	c.user.closed = true
	if u := c.user.current.Swap(nil); u != nil {
		c.limits.leave(u)
	}
}

// beforeUserEvent counts an event for the user whom its socket belongs to.
func (c *client) beforeUserEvent(s *server.Socket) error {
	u, l := c.userOf(s), c.limits
	if u == nil || u.events.tokens.Add(-1) >= 0 {
		return nil
	}
	every, burst := l.userEvents.every, l.userEvents.burst
	if dir := l.directory.Load(); dir != nil {
		if n := int64(dir.Holders(u.name)); n > 1 {
			every, burst = every*float64(n), max(1, burst/n)
		}
	}
	wait := u.events.refill(l.now(), &l.userEvents, every, burst, 1)
	if wait == 0 {
		return nil
	}
	l.hit(kindUserEvents, Hit{Conn: s.Conn(), User: u.name})
	return c.actOn(s, &l.userEvents, "Too many messages", wait)
}
