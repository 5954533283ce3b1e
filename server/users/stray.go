package users

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

// stray is a message that has come where its user is not, or that nobody has received.
type stray struct {
	user     string
	directed *server.Directed // or
	event    parcel
	mark     mark           // who has it
	but      adapter.NodeID // who cannot be reached
}

// maxStrays bounds how many wait for the store.
const maxStrays = 10_000

// strays are the messages that are being sent on: those of one user one after the other, by a goroutine that exists meanwhile.
type strays struct {
	mu sync.Mutex
	// Guarded by mu.
	users map[string][]*stray // an entry exists while its goroutine does
	count int
}

func (s *strays) init() { s.users = make(map[string][]*stray) }

// add never blocks.
func (s *strays) add(d *Directory, m *stray) {
	s.mu.Lock()
	list, running := s.users[m.user]
	full := s.count >= maxStrays
	if !full && !running {
		full = !d.spawn(func() { s.run(d, m.user) })
	}
	if !full {
		s.count++
		s.users[m.user] = append(list, m)
	}
	s.mu.Unlock()
	if full {
		d.lost(m.user, "too many messages wait for the store")
	}
}

func (s *strays) run(d *Directory, user string) {
	for {
		s.mu.Lock()
		list := s.users[user]
		if len(list) == 0 {
			delete(s.users, user)
			s.mu.Unlock()
			return
		}
		s.users[user] = list[1:]
		s.count--
		s.mu.Unlock()
		d.sendOn(list[0])
	}
}

// sendOn looks for a user whom a message has not found and sends it there.
func (d *Directory) sendOn(m *stray) {
	ctx, cancel := context.WithTimeout(d.ctx, storeTimeout)
	defer cancel()
	p, err := d.lookUp(ctx, m.user)
	if err != nil {
		d.lost(m.user, err.Error())
		return
	}
	nodes := m.mark.missing(without(p.nodes, []adapter.NodeID{m.but}))
	if p.all {
		nodes = m.mark.missing(without(append(d.members.others(), d.members.self), []adapter.NodeID{m.but}))
	}
	if m.directed != nil {
		d.forward(m, p, nodes)
		return
	}
	switch {
	case len(nodes) > 0:
		d.counts.forwarded.Add(1)
		if err := d.emit(m.user, m.event, nodes, m.mark); err != nil {
			d.lost(m.user, err.Error())
		}
	case !m.mark.anybody(m.but):
		d.lost(m.user, p.err().Error())
	}
}

// forward sends a message of another node on, and tells that node where the user is.
func (d *Directory) forward(m *stray, p place, nodes []adapter.NodeID) {
	self := d.members.self
	nodes = without(nodes, []adapter.NodeID{self})
	switch {
	case len(nodes) > 0:
		d.counts.forwarded.Add(1)
		to := m.mark.sentTo(nodes)
		if p.all {
			to = append(mark{self}, to...) // none of them looks further
		}
		if err := m.directed.Forward(to, nodes...); err != nil {
			d.lost(m.user, err.Error())
		}
	case !m.mark.anybody(self) && !slices.Contains(p.nodes, self):
		d.lost(m.user, p.err().Error())
	}
	if !p.all {
		d.tellHolders(m.directed.From(), m.user, p.nodes)
	}
}

// directed looks at a message that another node has sent to this one for a user. It does not block.
func (d *Directory) directed(m *server.Directed) {
	rooms, who := m.Rooms(), mark(m.Holders())
	if len(rooms) != 1 {
		return
	}
	id, ok := strings.CutPrefix(rooms[0], d.opts.RoomPrefix)
	if !ok || d.checkID(id) != nil {
		return
	}
	d.noteSender(id, m.From())
	if who[0] != d.members.self {
		return
	}
	if m.Replayed() {
		d.replayed(id, m)
		return
	}
	here, nodes, _ := d.holdersHere(id)
	if !here {
		s := &stray{user: id, directed: m, mark: who}
		if !d.has(id) {
			s.mark = who.without(d.members.self)
		}
		d.strays.add(d, s)
		return
	}
	missing := who.missing(nodes)
	if len(missing) > 0 {
		d.counts.forwarded.Add(1)
		if err := m.Forward(who.sentTo(missing), missing...); err != nil {
			d.lost(id, err.Error())
		}
	}
	if len(missing) > 0 || slices.ContainsFunc(who, func(node adapter.NodeID) bool { return !slices.Contains(nodes, node) }) {
		d.tellHolders(m.From(), id, nodes)
	}
}

// noteSender notes that another node remembers that a user is here.
func (d *Directory) noteSender(id string, from adapter.NodeID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if u := d.users[id]; u != nil && u.count > 0 && from != "" {
		u.sentBy(from)
	}
}

// has reports whether sockets of this node have a user.
func (d *Directory) has(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.users[id]
	return u != nil && u.count > 0
}

// lost counts a message that has not found its user.
func (d *Directory) lost(user, why string) {
	d.counts.lost.Add(1)
	d.warn("lost", "a message has not found its user", "user", user, "reason", why)
}
