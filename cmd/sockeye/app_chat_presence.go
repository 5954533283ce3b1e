package main

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

const (
	// presenceRoom holds the sockets that watch. No user and no public room can have this name, see checkUser and checkRoom.
	presenceRoom = "#"
	// maxListed bounds the names in one answer.
	maxListed = 200
	// maxChanges bounds the names in one presence event; beyond it the watchers are asked to look again.
	maxChanges = 100
	// crowd is the number of sockets from which on a room is too large for what costs work per member.
	crowd = 100
)

// How often the cluster is asked and the watchers are told. Both grow with the number of sockets, so that neither the
// work of a node nor the messages per second that presence costs do.
const (
	minCensusAge    = 250 * time.Millisecond
	censusLoad      = 20 // a census is kept for this many times as long as it took
	censusTimeout   = 5 * time.Second
	minPresenceWait = 100 * time.Millisecond
	waitPerSocket   = time.Millisecond
)

// census says who was where in the cluster at one time. It is not changed after it has been taken.
type census struct {
	at       time.Time // when it was asked for: what happened before is in it
	took     time.Duration
	complete bool // every node answered
	sockets  int
	users    []name // sorted
	rooms    map[name]occupancy
}

// occupancy is a public room in a census.
type occupancy struct {
	sockets int
	users   []name // sorted
}

func (o occupancy) isCrowd() bool { return o.sockets >= crowd }

func (c *census) isOnline(user name) bool {
	_, found := slices.BinarySearch(c.users, user)
	return found
}

// present is what the cluster tells about one socket.
type present struct {
	user  name // "" before login
	rooms []name
}

// count sums up the sockets of the cluster.
func count(sockets []present) *census {
	c := &census{sockets: len(sockets), rooms: make(map[name]occupancy)}
	for _, s := range sockets {
		if s.user != "" {
			c.users = append(c.users, s.user)
		}
		for _, room := range s.rooms {
			o := c.rooms[room]
			o.sockets++
			if s.user != "" {
				o.users = append(o.users, s.user)
			}
			c.rooms[room] = o
		}
	}
	c.users = distinct(c.users)
	for room, o := range c.rooms {
		o.users = distinct(o.users)
		c.rooms[room] = o
	}
	return c
}

func distinct(names []name) []name {
	slices.Sort(names)
	return slices.Compact(names)
}

// askCluster takes a census. Nodes that do not answer are missing in it.
func (c chat) askCluster(ctx context.Context) (*census, error) {
	ctx, cancel := context.WithTimeout(ctx, censusTimeout)
	defer cancel()
	found, err := c.sockets.FetchSockets(ctx)
	if err != nil && len(found.Values) == 0 {
		return nil, err
	}
	sockets := make([]present, 0, len(found.Values))
	for _, s := range found.Values {
		var data struct{ User name }
		if json.Unmarshal(s.Data(), &data) != nil {
			data.User = "" // a socket of another kind of node
		}
		sockets = append(sockets, present{user: data.User, rooms: publicRooms(s.Rooms())})
	}
	result := count(sockets)
	result.complete = err == nil && found.Complete()
	return result, nil
}

// directory keeps the latest census. Any number of callers at the same time cause one question to the cluster.
type directory struct {
	// Static after construction.
	ask func(context.Context) (*census, error)

	mu sync.Mutex
	// Guarded by mu.
	latest *question // answered without an error, or nil
	asking *question // on its way, or nil
}

// question is one census, from the moment it is asked for.
type question struct {
	at     time.Time
	done   chan struct{}
	answer *census // set before done is closed, like err
	err    error
}

// recent returns a census that is as new as its cost allows.
func (d *directory) recent(ctx context.Context) (*census, error) {
	d.mu.Lock()
	age := time.Duration(minCensusAge)
	if d.latest != nil {
		age = max(age, censusLoad*d.latest.answer.took)
	}
	d.mu.Unlock()
	return d.since(ctx, time.Now().Add(-age))
}

// since returns a census that was asked for at start or later.
func (d *directory) since(ctx context.Context, start time.Time) (*census, error) {
	for {
		d.mu.Lock()
		if q := d.latest; q != nil && !q.at.Before(start) {
			d.mu.Unlock()
			return q.answer, nil
		}
		q := d.asking
		if q == nil {
			q = &question{at: time.Now(), done: make(chan struct{})}
			d.asking = q
			d.mu.Unlock()
			d.run(ctx, q)
			return q.answer, q.err
		}
		d.mu.Unlock()
		select {
		case <-q.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		// The one who asked may have gone away meanwhile: that error is not ours.
		if !q.at.Before(start) && q.err == nil {
			return q.answer, nil
		}
	}
}

func (d *directory) run(ctx context.Context, q *question) {
	q.answer, q.err = d.ask(ctx)
	if q.err == nil {
		q.answer.at, q.answer.took = q.at, time.Since(q.at)
	}
	d.mu.Lock()
	d.asking = nil
	if q.err == nil {
		d.latest = q
	}
	d.mu.Unlock()
	close(q.done)
}

// roomSize is a public room in lists; members counts distinct users.
type roomSize struct {
	Room    name `json:"room"`
	Members int  `json:"members"`
}

// change is the argument of presence: the state, at one time, of what has changed. With Stale there was too much to tell,
// and watchers are to ask watch again some time within the given milliseconds.
type change struct {
	Online  []name     `json:"online,omitempty"`
	Offline []name     `json:"offline,omitempty"`
	Rooms   []roomSize `json:"rooms,omitempty"`
	Total   int        `json:"total"`
	Stale   bool       `json:"stale,omitempty"`
	Within  int64      `json:"within,omitempty"`
}

// announcer gathers what changes on this node and tells the watchers of the whole cluster about it, as the cluster sees
// it then. Between two announcements it waits in proportion to the number of sockets.
type announcer struct {
	// Static after construction.
	directory *directory
	emit      func(change)

	mu sync.Mutex
	// Guarded by mu.
	users, rooms map[name]struct{}
	scheduled    bool          // a timer or its function is running
	wait         time.Duration // of the next announcement
}

// note marks a user, unless it is empty, and rooms as changed. It never blocks.
func (a *announcer) note(user name, rooms ...name) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.users == nil {
		a.users, a.rooms = make(map[name]struct{}), make(map[name]struct{})
	}
	if user != "" && len(a.users) <= maxChanges {
		a.users[user] = struct{}{}
	}
	for _, room := range rooms {
		if len(a.rooms) <= maxChanges {
			a.rooms[room] = struct{}{}
		}
	}
	if !a.scheduled && len(a.users)+len(a.rooms) > 0 {
		a.scheduled = true
		time.AfterFunc(max(a.wait, minPresenceWait), a.run)
	}
}

// run is the timer's function. What is noted while it works is announced next time.
func (a *announcer) run() {
	a.mu.Lock()
	users, rooms := a.users, a.rooms
	a.users, a.rooms = nil, nil
	a.mu.Unlock()

	// On an error there is nothing to tell; watchers ask again now and then by themselves.
	now, err := a.directory.since(context.Background(), time.Now())
	wait := time.Duration(minPresenceWait)
	if err == nil {
		wait += time.Duration(now.sockets) * waitPerSocket
		a.emit(changes(now, users, rooms, wait))
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	a.scheduled, a.wait = false, wait
	if len(a.users)+len(a.rooms) > 0 {
		a.scheduled = true
		time.AfterFunc(wait, a.run)
	}
}

// changes describes the users and rooms that may have changed.
func changes(now *census, users, rooms map[name]struct{}, wait time.Duration) change {
	c := change{Total: len(now.users)}
	if len(users) > maxChanges || len(rooms) > maxChanges {
		c.Stale, c.Within = true, wait.Milliseconds()
		return c
	}
	for user := range users {
		switch {
		case now.isOnline(user):
			c.Online = append(c.Online, user)
		case now.complete: // else the user may be on the node that did not answer
			c.Offline = append(c.Offline, user)
		}
	}
	for room := range rooms {
		if size := len(now.rooms[room].users); size > 0 || now.complete {
			c.Rooms = append(c.Rooms, roomSize{room, size})
		}
	}
	slices.Sort(c.Online)
	slices.Sort(c.Offline)
	slices.SortFunc(c.Rooms, func(a, b roomSize) int { return cmp.Compare(a.Room, b.Room) })
	return c
}

// announce tells the watchers. A watcher that is not ready for more would miss it for good, so it is not volatile.
func (c chat) announce(news change) {
	_ = c.sockets.To(presenceRoom).Emit("presence", news) // the adapter logs; local watchers have been told
}

// listing is the answer to watch. Lists are cut at 200 names; the totals are not.
type listing struct {
	Users []name     `json:"users"`
	Total int        `json:"total"`
	Rooms []roomSize `json:"rooms"`
}

// watch answers who is online and which rooms there are, and from then on sends presence events.
func (c chat) watch(ctx context.Context, s *server.Socket, _ server.None) (listing, error) {
	// First the room, then the question: what happens in between is told twice rather than not at all.
	if err := s.Join(ctx, presenceRoom); err != nil {
		return listing{}, err
	}
	now, err := c.directory.recent(ctx)
	if err != nil {
		return listing{}, err
	}
	return now.list(), nil
}

func (c *census) list() listing {
	l := listing{Users: first(c.users), Total: len(c.users), Rooms: []roomSize{}}
	for room, o := range c.rooms {
		if len(o.users) > 0 {
			l.Rooms = append(l.Rooms, roomSize{room, len(o.users)})
		}
	}
	// The largest first, so that the cut takes the smallest.
	slices.SortFunc(l.Rooms, func(a, b roomSize) int {
		return cmp.Or(cmp.Compare(b.Members, a.Members), cmp.Compare(a.Room, b.Room))
	})
	l.Rooms = l.Rooms[:min(len(l.Rooms), maxListed)]
	return l
}

// first cuts a list for an answer. It never returns nil, which JSON would show as null.
func first(names []name) []name {
	if len(names) == 0 {
		return []name{}
	}
	return names[:min(len(names), maxListed)]
}

// memberList is the answer to members, cut at 200 names.
type memberList struct {
	Room  name   `json:"room"`
	Users []name `json:"users"`
	Total int    `json:"total"`
}

func (c chat) members(ctx context.Context, _ *server.Socket, room name) (memberList, error) {
	if err := room.checkRoom(); err != nil {
		return memberList{}, err
	}
	now, err := c.directory.recent(ctx)
	if err != nil {
		return memberList{}, err
	}
	users := now.rooms[room].users
	return memberList{Room: room, Users: first(users), Total: len(users)}, nil
}
