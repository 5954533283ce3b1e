package limits

import (
	"context"
	"slices"
	"sync"

	"github.com/sockeye-io/sockeye/server"
)

// owners are the users whom a connection counts for: one for each of its sockets that belongs to somebody.
type owners struct {
	mu sync.Mutex
	// Guarded by mu.
	list   []owned
	closed bool
}

type owned struct {
	socket *server.Socket
	user   string
}

func (o *owners) hasLocked(user string) bool {
	return slices.ContainsFunc(o.list, func(e owned) bool { return e.user == user })
}

func (o *owners) indexLocked(s *server.Socket) int {
	return slices.IndexFunc(o.list, func(e owned) bool { return e.socket == s })
}

// claim counts the connection for the user of a socket, in the place of the one that the socket had before. It does nothing and reports
// false if the user has as many connections as it may have. first says that the socket had no user before.
func (c *client) claim(s *server.Socket, user string) (first, ok bool) {
	o, l := &c.owners, c.limits
	o.mu.Lock()
	defer o.mu.Unlock()
	i := o.indexLocked(s)
	if o.closed || i >= 0 && o.list[i].user == user {
		return false, true
	}
	if !o.hasLocked(user) && !l.owned.addWithin(user, l.opts.ConnectionsPerUser) {
		return false, false
	}
	if i < 0 {
		o.list = append(o.list, owned{s, user})
		return true, true
	}
	former := o.list[i].user
	o.list[i].user = user
	if !o.hasLocked(former) {
		l.owned.add(former, -1)
	}
	return false, true
}

// disown ends what claim has begun for a socket.
func (c *client) disown(s *server.Socket) {
	o := &c.owners
	o.mu.Lock()
	defer o.mu.Unlock()
	i := o.indexLocked(s)
	if i < 0 {
		return
	}
	former := o.list[i].user
	o.list = slices.Delete(o.list, i, i+1)
	if !o.hasLocked(former) {
		c.limits.owned.add(former, -1)
	}
}

// disownAll ends it for all sockets, those to come included.
func (c *client) disownAll() {
	o := &c.owners
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for len(o.list) > 0 {
		last := o.list[len(o.list)-1].user
		o.list = o.list[:len(o.list)-1]
		if !o.hasLocked(last) {
			c.limits.owned.add(last, -1)
		}
	}
}

// beforeBind is asked by the directory about each socket that is to be a user's.
func (l *Limits) beforeBind(s *server.Socket, user string) error {
	c := l.clientOf(s.Conn())
	if c == nil {
		return nil
	}
	first, ok := c.claim(s, user)
	if !ok {
		l.hit(kindUserConnections, Hit{Conn: s.Conn(), User: user})
		return c.act(l.opts.UserConnectionsAction, kindUserConnections, "Too many connections", 0, s.Conn().Close)
	}
	switch {
	case first && !s.Connected(): // it is still in a middleware, and no hook tells of its end there
		context.AfterFunc(s.Context(), func() { c.disown(s) })
	case first && s.Context().Err() != nil:
		c.disown(s)
	}
	return nil
}

// ownerJoined counts a socket that has joined for the user that Options.UserOf names.
func (l *Limits) ownerJoined(c *client, s *server.Socket) {
	user := l.opts.UserOf(s)
	if user == "" {
		return
	}
	first, ok := c.claim(s, user)
	switch {
	case !ok:
		l.hit(kindUserConnections, Hit{Conn: s.Conn(), User: user})
		if l.opts.UserConnectionsAction == Disconnect {
			s.Conn().Close()
			return
		}
		s.Disconnect()
	case first && s.Context().Err() != nil: // it has gone, and its end may have been told
		c.disown(s)
	}
}
