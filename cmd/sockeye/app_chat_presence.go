package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

const (
	// presenceRoom holds the sockets that watch. No user and no public room can have this name, see checkUser and checkRoom.
	presenceRoom = "#"
	// presenceEvent is what the nodes tell each other when somebody came, went, or joined or left a room.
	presenceEvent = "sockeye:presence"
	// maxListed bounds the names in one answer.
	maxListed = 200
	// maxChanges bounds the names in one presence event; beyond it the watchers are asked to look again.
	maxChanges = 100
)

// How often the cluster is asked and the watchers are told. The waits grow with the number of sockets, so that neither
// the work of a node nor the messages per second that presence costs do.
const (
	minPresenceWait = 100 * time.Millisecond
	waitPerSocket   = time.Millisecond
	// pulse is how often the number of nodes is looked at, which is how a node that died is found out.
	pulse = 2 * time.Second
	// maxViewAge is how old the view may become when nothing seems to have changed, unsureAge the same while some node
	// does not answer, or is none of ours and tells no changes.
	maxViewAge = 15 * time.Second
	unsureAge  = 5 * time.Second
	// silence is how long the users of a node that does not answer are taken to be still there.
	silence = 15 * time.Second
)

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
	Total   int        `json:"total"`
	Alone   bool       `json:"alone"` // this node has lost the others, and tells of itself only
	Stale   bool       `json:"stale,omitempty"`
	Within  int64      `json:"within,omitempty"`
}

// board knows what this node's watchers have been told, and tells them what changes. A change on this node is told to the
// other nodes too, as a hint to look. What is true is always asked anew, from every node: so a node that was killed
// leaves no users behind, and nothing has to be repaired when Redis was away. While nobody watches, nothing is asked.
type board struct {
	// Static after construction. tellNodes and tell do not block.
	ask       func(ctx context.Context, since time.Time) (*census, error)
	nodes     func(context.Context) (int, error) // how many take part
	tellNodes func()
	tell      func(change)

	// Held also while watchers are told or answered, so that none gets the two in the wrong order.
	mu sync.Mutex
	// Guarded by mu.
	watchers  int
	view      *census       // what the watchers know; nil while there are none
	whole     time.Time     // when every node answered last
	count     int           // nodes at the last pulse
	ours      bool          // something changed here and the other nodes do not know
	changed   bool          // something may have changed anywhere
	scheduled bool          // a timer or its function is running
	pulsing   bool          // the same for the pulse
	wait      time.Duration // before the next look
}

// note says that something changed on this node, hint that it did on another. Neither blocks.
func (b *board) note() { b.schedule(true) }
func (b *board) hint() { b.schedule(false) }

func (b *board) schedule(ours bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ours = b.ours || ours
	b.changed = true
	b.scheduleLocked()
}

func (b *board) scheduleLocked() {
	if !b.scheduled {
		b.scheduled = true
		time.AfterFunc(max(b.wait, minPresenceWait), b.run)
	}
}

// run is the timer's function. What is noted while it works is looked at next time.
func (b *board) run() {
	b.mu.Lock()
	ours, watched := b.ours, b.watchers > 0
	b.ours, b.changed = false, false
	b.mu.Unlock()
	if ours {
		b.tellNodes()
	}
	wait := minPresenceWait
	if watched {
		wait = b.look()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.scheduled, b.wait = false, wait
	if b.changed {
		b.scheduleLocked()
	}
}

// look asks the cluster, tells the watchers the difference and returns how long to wait before the next look. On an error
// there is nothing to tell; the next pulse tries again.
func (b *board) look() time.Duration {
	now, err := b.ask(context.Background(), time.Now())
	if err != nil {
		return minPresenceWait
	}
	wait := minPresenceWait + time.Duration(now.sockets)*waitPerSocket
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watchers == 0 {
		return wait
	}
	before := b.view
	if now.complete {
		b.whole = now.at
	} else if !now.alone && before != nil && now.at.Sub(b.whole) < silence {
		now = now.withMissing(before)
	}
	b.view = now
	if before == nil {
		return wait
	}
	if news, changed := difference(before, now, wait); changed {
		b.tell(news)
	}
	return wait
}

// enter counts a watcher, leave takes one away.
func (b *board) enter() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watchers++
	if !b.pulsing {
		b.pulsing = true
		time.AfterFunc(pulse, b.beat)
	}
}

func (b *board) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watchers--; b.watchers == 0 {
		b.view = nil
	}
}

// beat is the function of the pulse. It ends with the last watcher.
func (b *board) beat() {
	ctx, cancel := context.WithTimeout(context.Background(), clusterPatience)
	n, err := b.nodes(ctx)
	cancel()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watchers == 0 {
		b.pulsing = false
		return
	}
	if v := b.view; v == nil || n != b.count || (err != nil) != v.alone || time.Since(v.at) >= v.goodFor() {
		b.changed = true
		b.scheduleLocked()
	}
	b.count = n
	time.AfterFunc(pulse, b.beat)
}

// goodFor returns how long a census may be believed without a sign of a change.
func (c *census) goodFor() time.Duration {
	limit := maxViewAge
	if c.foreign || !c.complete && !c.alone {
		limit = unsureAge
	}
	return max(limit, time.Duration(c.sockets)*waitPerSocket)
}

// show gives a watcher what the watchers know, after a look for the first of them. give does not block.
func (b *board) show(ctx context.Context, give func(*census)) error {
	b.mu.Lock()
	view := b.view
	b.mu.Unlock()
	if view == nil {
		var err error
		if view, err = b.ask(ctx, time.Now()); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.view == nil && b.watchers > 0 {
		b.view, b.whole = view, view.at
	}
	give(cmp.Or(b.view, view))
	return nil
}

// withMissing adds who was there before and may still be, on a node that has not answered: users of whose nodes no
// socket at all was found this time. A node that did answer knows best.
func (c *census) withMissing(before *census) *census {
	heard := make(map[string]bool)
	for _, p := range c.users {
		for _, node := range p.Nodes {
			heard[node] = true
		}
	}
	merged := *c
	merged.users, merged.rooms = slices.Clone(c.users), maps.Clone(c.rooms)
	for _, p := range before.users {
		at, found := slices.BinarySearchFunc(merged.users, p.User, byUser)
		if found || slices.ContainsFunc(p.Nodes, func(node string) bool { return heard[node] }) {
			continue
		}
		merged.users = slices.Insert(merged.users, at, p)
		for room, o := range before.rooms {
			if _, member := slices.BinarySearch(o.users, p.User); member {
				now := merged.rooms[room]
				merged.rooms[room] = occupancy{now.sockets + 1, distinct(append(slices.Clone(now.users), p.User))}
			}
		}
	}
	return &merged
}

// difference describes what changed, and reports whether anything did.
func difference(before, now *census, wait time.Duration) (change, bool) {
	c := change{Total: len(now.users), Alone: now.alone}
	for _, p := range now.users {
		at, found := slices.BinarySearchFunc(before.users, p.User, byUser)
		if !found || !slices.Equal(before.users[at].Nodes, p.Nodes) {
			c.Online = append(c.Online, p)
		}
	}
	for _, p := range before.users {
		if _, found := slices.BinarySearchFunc(now.users, p.User, byUser); !found {
			c.Offline = append(c.Offline, p.User)
		}
	}
	for room, o := range now.rooms {
		if len(o.users) != len(before.rooms[room].users) {
			c.Rooms = append(c.Rooms, roomSize{room, len(o.users)})
		}
	}
	for room, o := range before.rooms {
		if _, found := now.rooms[room]; !found && len(o.users) > 0 {
			c.Rooms = append(c.Rooms, roomSize{room, 0})
		}
	}
	changed := len(c.Online)+len(c.Offline)+len(c.Rooms) > 0 || now.alone != before.alone
	if len(c.Online)+len(c.Offline) > maxChanges || len(c.Rooms) > maxChanges {
		return change{Total: c.Total, Alone: c.Alone, Stale: true, Within: wait.Milliseconds()}, true
	}
	slices.SortFunc(c.Rooms, func(a, b roomSize) int { return compareNames(a.Room, b.Room) })
	return c, changed
}

func compareNames(a, b name) int { return cmp.Compare(a, b) }

// announce tells the watchers of this node. One that is not ready for more would miss it for good, so it is not volatile.
func (c chat) announce(news change) {
	_ = c.sockets.Local().To(presenceRoom).Emit("presence", news) // fails only for the other nodes, which are not meant
}

// announceToNodes tells the other nodes to look. If they cannot be reached, their pulse tells them.
func (c chat) announceToNodes() { _ = c.sockets.ServerSideEmit(presenceEvent) }

// listing is the answer to watch. Lists are cut at 200 names; the totals are not.
type listing struct {
	Users []person   `json:"users"`
	Total int        `json:"total"`
	Rooms []roomSize `json:"rooms"`
	Alone bool       `json:"alone"`
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
	if err := c.board.show(ctx, func(now *census) { failed = reply.Send(now.list()) }); err != nil {
		return err
	}
	return failed
}

func (c *census) list() listing {
	l := listing{Users: first(c.users), Total: len(c.users), Rooms: []roomSize{}, Alone: c.alone}
	for room, o := range c.rooms {
		if len(o.users) > 0 {
			l.Rooms = append(l.Rooms, roomSize{room, len(o.users)})
		}
	}
	// The largest first, so that the cut takes the smallest.
	slices.SortFunc(l.Rooms, func(a, b roomSize) int {
		return cmp.Or(cmp.Compare(b.Members, a.Members), compareNames(a.Room, b.Room))
	})
	l.Rooms = l.Rooms[:min(len(l.Rooms), maxListed)]
	return l
}

// first cuts a list for an answer. It never returns nil, which JSON would show as null.
func first[T any](list []T) []T {
	if len(list) == 0 {
		return []T{}
	}
	return list[:min(len(list), maxListed)]
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
