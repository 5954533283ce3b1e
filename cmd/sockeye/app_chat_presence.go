package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/users"
)

const (
	// presenceRoom holds the sockets that watch. No user and no public room can have this name, see checkUser and checkRoom.
	presenceRoom = "#"
	// maxListed bounds the names in one answer.
	maxListed = 200
	// maxChanges bounds the names in one presence event; beyond it the watchers are asked to look again.
	maxChanges = 100
)

// How often watchers are told. The waits grow with the number of sockets, so that the messages per second that presence costs do not.
const (
	gather        = 20 * time.Millisecond // what the directory tells of people and of rooms goes together
	waitPerSocket = time.Millisecond
	pulse         = 2 * time.Second // how often it is asked whether the other nodes can be reached
)

// person is a user who is online, and the names of the nodes that serve them, sorted.
type person struct {
	User  name     `json:"user"`
	Nodes []string `json:"nodes"`
}

// roomSize is a public room in lists; members counts distinct users.
type roomSize struct {
	Room    name `json:"room"`
	Members int  `json:"members"`
}

// change is the argument of presence: what is different now. Online has who came or is served by other nodes than before.
// With Stale there was too much to tell, and watchers are to ask watch again some time within the given milliseconds.
type change struct {
	Online  []person   `json:"online,omitempty"`
	Offline []name     `json:"offline,omitempty"`
	Rooms   []roomSize `json:"rooms,omitempty"`
	condition
	Stale  bool  `json:"stale,omitempty"`
	Within int64 `json:"within,omitempty"`
}

// condition says what a list is worth.
type condition struct {
	Total      int      `json:"total"`
	Alone      bool     `json:"alone"`                // this node has lost the others, and tells of itself only
	Missing    []string `json:"missing,omitempty"`    // nodes whose users are left out because they do not answer
	Incomplete bool     `json:"incomplete,omitempty"` // users of nodes without the directory, those of Node.js, are not in it
}

func (c condition) equal(o condition) bool {
	return c.Total == o.Total && c.Alone == o.Alone && slices.Equal(c.Missing, o.Missing) && c.Incomplete == o.Incomplete
}

// board tells the watchers of this node what the directory tells it. While nobody watches, the directory is not asked.
type board struct {
	// Static after construction. tell does not block.
	dir   *users.Directory
	names *nodeNames
	nodes func(context.Context) (int, error) // fails if the others cannot be reached
	tell  func(change)

	// Held also while watchers are told or answered, so that none gets the two in the wrong order.
	mu sync.Mutex
	// Guarded by mu.
	watchers int
	view     *view // nil while nobody watches
}

// view is what is known while somebody watches. Guarded by board.mu, but for what is static.
type view struct {
	ready  chan struct{}      // closed when it is complete; static
	cancel context.CancelFunc // static

	err       error // why it could not be had
	complete  bool  // somebody may have been told
	people    map[name]users.Present
	rooms     map[name]int
	sockets   int
	told      condition
	condition condition
	// What watchers do not know yet, with what they do: no node and no member for what was not there.
	newPeople map[name][]string
	newRooms  map[name]int
	flushing  bool
	next      time.Time // not before it are the watchers told again
}

// enter counts a watcher, leave takes one away.
func (b *board) enter() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watchers++; b.watchers > 1 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	v := &view{
		ready: make(chan struct{}), cancel: cancel, people: make(map[name]users.Present), rooms: make(map[name]int),
		newPeople: make(map[name][]string), newRooms: make(map[name]int),
	}
	b.view = v
	go b.follow(ctx, v)
}

func (b *board) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watchers--; b.watchers == 0 {
		b.view.cancel()
		b.view = nil
	}
}

// follow keeps a view up to date until its last watcher has gone.
func (b *board) follow(ctx context.Context, v *view) {
	err := b.dir.Everyone().Watch(ctx, func(c users.Change) { b.peopleChanged(v, &c) })
	if err == nil {
		err = b.dir.RoomsWith("#").Watch(ctx, func(c users.Change) { b.roomsChanged(v, &c) })
	}
	b.mu.Lock()
	v.err, v.complete = err, true
	v.told = v.condition
	clear(v.newPeople) // nobody has been told anything yet
	clear(v.newRooms)
	close(v.ready)
	b.mu.Unlock()
	ticker := time.NewTicker(pulse)
	defer ticker.Stop()
	for err == nil {
		b.beat(ctx, v)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// beat looks whether the other nodes can be reached.
func (b *board) beat(ctx context.Context, v *view) {
	limited, cancel := context.WithTimeout(ctx, clusterPatience)
	_, err := b.nodes(limited)
	cancel()
	if ctx.Err() != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	v.condition.Alone = err != nil
	b.flushLaterLocked(v)
}

func (b *board) peopleChanged(v *view, c *users.Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	note := func(user name) {
		if _, noted := v.newPeople[user]; !noted {
			v.newPeople[user] = b.names.of(v.people[user].Nodes)
		}
	}
	for _, list := range [][]users.Present{c.Joined, c.Updated} {
		for _, p := range list {
			note(name(p.User))
			v.people[name(p.User)] = p
		}
	}
	for _, p := range c.Left {
		note(name(p.User))
		delete(v.people, name(p.User))
	}
	v.sockets = c.Sockets
	v.condition.Total, v.condition.Incomplete, v.condition.Missing = c.Users, c.Incomplete, b.names.of(c.Missing)
	b.flushLaterLocked(v)
}

func (b *board) roomsChanged(v *view, c *users.Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	count := func(p users.Present, n int) {
		room := name(p.Room)
		if room.checkRoom() != nil {
			return // the room of those who watch, or one of another program
		}
		if _, noted := v.newRooms[room]; !noted {
			v.newRooms[room] = v.rooms[room]
		}
		if v.rooms[room] += n; v.rooms[room] == 0 {
			delete(v.rooms, room)
		}
	}
	for _, p := range c.Joined {
		count(p, 1)
	}
	for _, p := range c.Left {
		count(p, -1)
	}
	b.flushLaterLocked(v)
}

// flushLaterLocked has the watchers told soon, if there is anything to tell.
func (b *board) flushLaterLocked(v *view) {
	if v.flushing || !v.complete || v != b.view {
		return
	}
	v.flushing = true
	time.AfterFunc(max(gather, time.Until(v.next)), func() { b.flush(v) })
}

func (b *board) flush(v *view) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v.flushing = false
	if v != b.view {
		return
	}
	wait := time.Duration(v.sockets) * waitPerSocket
	if c, changed := v.news(b.names, wait); changed {
		v.next = time.Now().Add(wait)
		b.tell(c)
	}
}

// news says what the watchers do not know, and reports whether there is anything. They know it from then on.
func (v *view) news(names *nodeNames, wait time.Duration) (change, bool) {
	c := change{condition: v.condition}
	for user, before := range v.newPeople {
		now, online := v.people[user]
		switch nodes := names.of(now.Nodes); {
		case online && !slices.Equal(nodes, before):
			c.Online = append(c.Online, person{user, nodes})
		case !online && len(before) > 0:
			c.Offline = append(c.Offline, user)
		}
	}
	for room, before := range v.newRooms {
		if now := v.rooms[room]; now != before {
			c.Rooms = append(c.Rooms, roomSize{room, now})
		}
	}
	changed := len(c.Online)+len(c.Offline)+len(c.Rooms) > 0 || !v.condition.equal(v.told)
	v.told = v.condition
	clear(v.newPeople)
	clear(v.newRooms)
	if len(c.Online)+len(c.Offline) > maxChanges || len(c.Rooms) > maxChanges {
		return change{condition: v.condition, Stale: true, Within: (minWithin + wait).Milliseconds()}, true
	}
	slices.SortFunc(c.Online, func(a, b person) int { return compareNames(a.User, b.User) })
	slices.Sort(c.Offline)
	slices.SortFunc(c.Rooms, func(a, b roomSize) int { return compareNames(a.Room, b.Room) })
	return c, changed
}

// minWithin spreads the watchers that look again.
const minWithin = 100 * time.Millisecond

func compareNames(a, b name) int { return cmp.Compare(a, b) }

// show gives a watcher what the watchers know. give does not block.
func (b *board) show(ctx context.Context, give func(listing)) error {
	b.mu.Lock()
	v := b.view
	b.mu.Unlock()
	if v == nil {
		return server.ErrDisconnected // the socket that asked has gone
	}
	select {
	case <-v.ready:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if v.err == nil {
		give(v.list(b.names))
	}
	return v.err
}

// listing is the answer to watch. Lists are cut at 200 names; the totals are not.
type listing struct {
	Users []person   `json:"users"`
	Rooms []roomSize `json:"rooms"`
	condition
}

func (v *view) list(names *nodeNames) listing {
	l := listing{Users: []person{}, Rooms: []roomSize{}, condition: v.condition}
	for _, user := range first(slices.Sorted(maps.Keys(v.people))) {
		l.Users = append(l.Users, person{user, names.of(v.people[user].Nodes)})
	}
	for room, members := range v.rooms {
		l.Rooms = append(l.Rooms, roomSize{room, members})
	}
	// The largest first, so that the cut takes the smallest.
	slices.SortFunc(l.Rooms, func(a, b roomSize) int {
		return cmp.Or(cmp.Compare(b.Members, a.Members), compareNames(a.Room, b.Room))
	})
	l.Rooms = first(l.Rooms)
	return l
}

// first cuts a list for an answer. It never returns nil, which JSON would show as null.
func first[T any](list []T) []T {
	if len(list) == 0 {
		return []T{}
	}
	return list[:min(len(list), maxListed)]
}

// announce tells the watchers of this node. One that is not ready for more would miss it for good, so it is not volatile.
func (c chat) announce(news change) {
	_ = c.sockets.Local().To(presenceRoom).Emit("presence", news) // fails only for the other nodes, which are not meant
}

// watch answers who is online and which rooms there are, and from then on sends presence events.
func (c chat) watch(ctx context.Context, s *server.Socket, _ server.None, reply *server.Reply) error {
	if !slices.Contains(s.Rooms(), presenceRoom) {
		if err := c.enter(ctx, s, presenceRoom); err != nil {
			return err
		}
		c.board.enter()
	}
	var failed error
	if err := c.board.show(ctx, func(l listing) { failed = reply.Send(l) }); err != nil {
		return err
	}
	return failed
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
	ctx, cancel := context.WithTimeout(ctx, clusterPatience)
	defer cancel()
	there, err := c.dir.Room(string(room)).Users(ctx)
	if err != nil {
		return memberList{}, err
	}
	list := memberList{Room: room, Users: []name{}, Total: len(there.Users)}
	for _, p := range first(there.Users) {
		list.Users = append(list.Users, name(p.User))
	}
	return list, nil
}

// nodeNames knows the names of nodes, this one among them.
type nodeNames struct {
	srv *server.Server // static

	mu sync.Mutex
	// Guarded by mu.
	byID map[server.NodeID]string
}

func newNodeNames(srv *server.Server) *nodeNames {
	n := &nodeNames{srv: srv, byID: make(map[server.NodeID]string)}
	srv.OnNodeChange(func(c server.NodeChange) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if c.Node.State == adapter.NodeOver {
			delete(n.byID, c.Node.ID)
			return
		}
		n.byID[c.Node.ID] = c.Node.Name
	})
	return n
}

// of names nodes, sorted. One that is not known any more is named by its id.
func (n *nodeNames) of(ids []server.NodeID) []string {
	if len(ids) == 0 {
		return nil
	}
	self := n.srv.Node()
	n.mu.Lock()
	defer n.mu.Unlock()
	names := make([]string, 0, len(ids))
	for _, id := range ids {
		if id == self.ID {
			names = append(names, self.Name)
		} else {
			names = append(names, cmp.Or(n.byID[id], string(id)))
		}
	}
	slices.Sort(names)
	return names
}
