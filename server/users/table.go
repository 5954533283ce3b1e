package users

import (
	"slices"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

// table is what this node knows by itself, and so the truth about its own sockets. Guarded by Directory.mu.
type table struct {
	users   map[string]*user   // that sockets here have, or that the store may have of this life
	sockets map[string]binding // by socket id
	away    queue              // who is away; who is not any more stays until then
	waiting queue              // the same of users with a client that may go on

	urgent, bulk []*user // to be compared with the store: what was changed, and what is written anew

	life     string    // under which the store has this node
	enrolled bool      // life is on the roll
	epoch    string    // of the store, as of the enrolment; "" before the first
	down     bool      // the store has not answered
	anew     bool      // the store has lost everything and this node is not on its roll yet
	doubt    time.Time // until then the store's entries may be incomplete
	unsure   time.Time // until then somebody may be away of whom it knows nothing any more

	boxes map[adapter.NodeID]*outbox
}

func (t *table) init(life string) {
	t.users, t.sockets = make(map[string]*user), make(map[string]binding)
	t.boxes = make(map[adapter.NodeID]*outbox)
	t.life = life
}

// binding is a socket of this node with its user. A client that goes on has another socket with the same id, possibly before the end of
// the one before is told.
type binding struct {
	socket *server.Socket
	user   *user
}

// queue has users that are away in the order in which their grace time ends.
type queue []ending

type ending struct {
	user *user
	at   time.Time
}

// next returns the first one whose time is over. It forgets those that have come back since.
func (q *queue) next(now time.Time) *user {
	for len(*q) > 0 && !(*q)[0].at.After(now) {
		u, at := (*q)[0].user, (*q)[0].at
		(*q)[0] = ending{}
		if *q = (*q)[1:]; len(*q) == 0 {
			*q = nil
		}
		if !u.gone && u.stored == storedAway && u.count == 0 && u.until.Equal(at) {
			return u
		}
	}
	return nil
}

// stored is what the store has of a user and this life, as far as this node knows.
type stored uint8

const (
	storedNothing stored = iota
	storedUnknown        // perhaps held: an answer was lost, or the store may have lost it
	storedHeld
	storedAway // in the care of this life
)

// user is one user of the table. Guarded by Directory.mu.
type user struct {
	id     string // static
	count  int    // sockets here
	stored stored
	queued bool // is in urgent
	gone   bool // is not in the table any more

	// announced: the cluster was told that the user is online, by this node or another one, and the store may have forgotten it.
	announced bool
	until     time.Time        // end of the grace time, if stored is storedAway
	waits     time.Time        // until then a client that had a socket here may go on
	others    []other          // nodes that hold the user too
	senders   []adapter.NodeID // other nodes that have sent to it here and remember that it is; told when it is not any more
	changed   chan struct{}    // closed at the next change, nil unless somebody waits
}

// other is another node that holds a user.
type other struct {
	node  adapter.NodeID
	told  bool // it knows that this node does
	heard bool // it has said that it does, since it was last told: an answer that says otherwise is older
}

// here reports whether sockets of this node have the user and the store says so, so that whoever else holds it knows.
func (u *user) here() bool { return u.count > 0 && u.stored == storedHeld }

func (u *user) changedLocked() {
	if u.changed != nil {
		close(u.changed)
		u.changed = nil
	}
}

// note adds a node to those that hold the user, or returns the entry that is there.
func (u *user) note(node adapter.NodeID) *other {
	if i := u.find(node); i >= 0 {
		return &u.others[i]
	}
	u.others = append(u.others, other{node: node})
	return &u.others[len(u.others)-1]
}

// maxSenders bounds how many nodes are told; the others find out with their next message.
const maxSenders = 64

func (u *user) sentBy(node adapter.NodeID) {
	if len(u.senders) < maxSenders && !slices.Contains(u.senders, node) {
		u.senders = append(u.senders, node)
	}
}

func (u *user) find(node adapter.NodeID) int {
	return slices.IndexFunc(u.others, func(o other) bool { return o.node == node })
}

func (u *user) forget(node adapter.NodeID) {
	if i := u.find(node); i >= 0 {
		u.others = slices.Delete(u.others, i, i+1)
		u.changedLocked()
	}
}

// add binds a socket.
func (d *Directory) add(s *server.Socket, id string) *user {
	d.mu.Lock()
	former, found := d.sockets[s.ID()]
	if found && former.user.id == id {
		d.sockets[s.ID()] = binding{s, former.user}
		d.mu.Unlock()
		d.presence.touch(s.ID()) // its info may be another one
		return former.user
	}
	d.mu.Unlock()
	if found {
		d.drop(former.socket)
	}
	d.mu.Lock()
	u := d.users[id]
	if u == nil {
		u = &user{id: id}
		d.users[id] = u
	}
	d.sockets[s.ID()] = binding{s, u}
	u.count++
	first := u.count == 1
	if first {
		d.returnedLocked(u)
		d.queueLocked(u)
	}
	d.mu.Unlock()
	if first {
		d.cache.remove(id)
	}
	d.presence.touch(s.ID())
	return u
}

// returnedLocked has the other holders told of a user who has come back before the store knew that it was gone: they may have been told
// that it was.
func (d *Directory) returnedLocked(u *user) {
	if u.stored != storedHeld {
		return // the store will tell who they are
	}
	for i := range u.others {
		u.others[i].told = false
		d.tellLocked(u.others[i].node, u.id)
	}
}

// drop forgets a socket. It returns the user if that was its last one here.
func (d *Directory) drop(s *server.Socket) *user {
	waits := s.Recoverable()
	d.mu.Lock()
	b := d.sockets[s.ID()]
	u := b.user
	if u == nil || b.socket != s {
		d.mu.Unlock()
		return nil
	}
	delete(d.sockets, s.ID())
	if waits {
		u.waits = time.Now().Add(d.window)
	}
	u.count--
	last := u.count == 0
	if last {
		for _, node := range u.senders {
			d.tellLocked(node, u.id)
		}
		u.senders = nil
		if u.stored == storedAway { // the store has not heard yet that it had come back
			d.awayLocked(u)
		}
		d.queueLocked(u)
		u.changedLocked()
	}
	d.mu.Unlock()
	d.presence.touch(s.ID())
	if !last {
		return nil
	}
	return u
}

// queueLocked has the reconciler look at a user.
func (d *Directory) queueLocked(u *user) {
	if u.count == 0 && u.stored == storedNothing {
		d.removeLocked(u)
		return
	}
	if !u.queued {
		u.queued = true
		d.urgent = append(d.urgent, u)
	}
	signal(d.dirty)
}

// removeLocked takes a user of whom nothing is here or in the store out of the table.
func (d *Directory) removeLocked(u *user) {
	if d.users[u.id] == u {
		delete(d.users, u.id)
	}
	u.gone = true
	u.changedLocked()
}

// userOfSocket returns the user of a socket of this node.
func (d *Directory) userOfSocket(socket string) (user string, ok bool) {
	b, ok := d.bindingOf(socket)
	if !ok {
		return "", false
	}
	return b.user.id, true
}

func (d *Directory) bindingOf(socket string) (b binding, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, ok = d.sockets[socket]
	return b, ok
}

// otherHolders returns the other nodes that hold a user as far as this one knows, which it does while it holds the user too.
func (d *Directory) otherHolders(user string) []adapter.NodeID {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.othersLocked(d.users[user])
}

func (d *Directory) othersLocked(u *user) []adapter.NodeID {
	if u == nil {
		return nil
	}
	var list []adapter.NodeID
	for _, o := range u.others {
		if d.members.alive(o.node) {
			list = append(list, o.node)
		}
	}
	return list
}
