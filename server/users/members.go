package users

import (
	"maps"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

// members are the other nodes as their changes have told. What is read costs no lock; nodeChanged, which runs on one goroutine,
// writes.
type members struct {
	self adapter.NodeID // static
	list atomic.Pointer[map[adapter.NodeID]member]
}

type member struct {
	node   adapter.Node
	serves bool // the directory's namespace
}

func (m *members) init(self adapter.NodeID) {
	m.self = self
	m.list.Store(&map[adapter.NodeID]member{})
}

func (m *members) known() map[adapter.NodeID]member { return *m.list.Load() }

// alive reports whether messages reach a node: it is this one, or heard.
func (m *members) alive(id adapter.NodeID) bool {
	if id == m.self {
		return true
	}
	mem, ok := m.known()[id]
	return ok && mem.serves && mem.node.State == adapter.NodeAlive
}

// allAlive reports alive of a list.
func (m *members) allAlive(ids []adapter.NodeID) bool {
	for _, id := range ids {
		if !m.alive(id) {
			return false
		}
	}
	return true
}

// others lists the other nodes that are heard.
func (m *members) others() []adapter.NodeID {
	var ids []adapter.NodeID
	for id := range m.known() {
		if m.alive(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// nodeOf returns the node of a life: the id alone, or followed by the number of the life.
func (m *members) nodeOf(life string) adapter.NodeID {
	id := adapter.NodeID(life)
	if _, ok := m.known()[id]; ok || id == m.self {
		return id
	}
	i := strings.LastIndexByte(life, '-')
	if i < 0 {
		return id
	}
	if n, err := strconv.Atoi(life[i+1:]); err != nil || n < 2 {
		return id
	}
	return adapter.NodeID(life[:i])
}

// living reports whether a life is that of a node that is known, heard or not.
func (m *members) living(life string) bool {
	mem, ok := m.known()[m.nodeOf(life)]
	return ok && mem.node.Life == life
}

// put notes a change and returns what was known before.
func (m *members) put(c *server.NodeChange, namespace string) (was member, known bool) {
	old := m.known()
	was, known = old[c.Node.ID]
	next := maps.Clone(old)
	if c.Node.State == adapter.NodeOver {
		delete(next, c.Node.ID)
	} else {
		now := member{c.Node, known && was.serves}
		for _, topic := range c.Served {
			now.serves = now.serves || topic == namespace
		}
		for _, topic := range c.Unserved {
			now.serves = now.serves && topic != namespace
		}
		next[c.Node.ID] = now
	}
	m.list.Store(&next)
	return was, known
}

// nodeChanged takes in what happens to another node.
func (d *Directory) nodeChanged(c server.NodeChange) {
	d.members.put(&c, d.nsp.Name())
	if c.Node.State == adapter.NodeOver {
		d.lifeOver(c.Node)
	}
	d.mu.Lock()
	if d.members.alive(c.Node.ID) {
		d.tellAgainLocked(c.Node.ID)
	} else {
		d.wakeWaitersLocked(c.Node.ID)
	}
	d.mu.Unlock()
	signal(d.look)
	d.presence.hurry()
}

// lifeOver forgets what a node held, and has its entries swept.
func (d *Directory) lifeOver(n adapter.Node) {
	d.mu.Lock()
	for _, u := range d.users {
		u.forget(n.ID)
	}
	delete(d.boxes, n.ID)
	d.mu.Unlock()
	d.ended.add(n.Life)
}

// wakeWaitersLocked has Bind look again whom it waits for.
func (d *Directory) wakeWaitersLocked(node adapter.NodeID) {
	for _, u := range d.users {
		if u.changed != nil && u.find(node) >= 0 {
			u.changedLocked()
		}
	}
}
