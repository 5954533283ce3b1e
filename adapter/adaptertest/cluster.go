package adaptertest

import (
	"context"
	"slices"
	"sync"

	"github.com/sockeye-io/sockeye/adapter"
)

// Cluster is a cluster within one process, for tests of applications that run on several nodes and of whatever stands on
// an adapter:
//
//	var cluster adaptertest.Cluster
//	one, err := server.New(&server.Options{Adapter: cluster.Node("one")})
//	two, err := server.New(&server.Options{Adapter: cluster.Node("two")})
//
// As over a network, what goes to another node arrives later, in the order in which it was sent; a node takes what comes
// to it one after the other. Nothing is encoded, and nothing is lost unless a node is cut off or killed. It works inside a
// testing/synctest bubble. The zero value is a cluster without nodes; all methods may be called from any goroutine.
type Cluster struct {
	mu sync.Mutex
	// Guarded by mu.
	members   map[string][]*member // by namespace, in the order in which they joined
	listeners int
	cut       set
	losses    map[adapter.NodeID]uint64 // counts cuts
	frozen    set
	nameless  set
}

type set map[adapter.NodeID]bool

// Node returns the builder of the adapters of one node. The node is part of the cluster, in each of its namespaces, from
// the moment the namespace exists until its adapter closes.
func (c *Cluster) Node(id adapter.NodeID) adapter.Builder {
	return adapter.BuilderFunc(func(local adapter.Local) (adapter.Adapter, error) {
		return adapter.NewClustered(local, c.Bus(id, local.Name()), nil)
	})
}

// Bus returns the bus of one node in one namespace, for adapter.NewClustered. The node is part of the cluster from Start
// to Close.
func (c *Cluster) Bus(id adapter.NodeID, namespace string) adapter.Bus {
	return &member{cluster: c, id: id, namespace: namespace}
}

// Cut takes a node off the network: what it and the others send to each other from now on is lost, until Heal. The
// others still count it among the servers, and find it missing when it does not answer. For the node itself the cluster is
// unavailable; when every node is cut off, the broker is down.
func (c *Cluster) Cut(id adapter.NodeID) {
	c.change(&c.cut, id, true)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.losses == nil {
		c.losses = make(map[adapter.NodeID]uint64)
	}
	c.losses[id]++
}

// Heal ends a Cut.
func (c *Cluster) Heal(id adapter.NodeID) { c.change(&c.cut, id, false) }

// Freeze stops a node like SIGSTOP: it is still listed, and takes what was sent to it only after Thaw.
func (c *Cluster) Freeze(id adapter.NodeID) { c.change(&c.frozen, id, true) }

// Thaw ends a Freeze.
func (c *Cluster) Thaw(id adapter.NodeID) { c.change(&c.frozen, id, false) }

// Conceal leaves a node's name out of its answers, and what else Node's nodes do not tell with the classic adapter: the
// ids of the sockets that acknowledge, and which ones have gone.
func (c *Cluster) Conceal(id adapter.NodeID) { c.change(&c.nameless, id, true) }

func (c *Cluster) change(s *set, id adapter.NodeID, value bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *s == nil {
		*s = make(set)
	}
	(*s)[id] = value
	for _, members := range c.members {
		for _, m := range members {
			m.wakeLocked()
		}
	}
}

// Kill makes a node vanish without a word. For itself the cluster is unavailable from then on.
func (c *Cluster) Kill(id adapter.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, members := range c.members {
		for _, m := range members {
			if m.id == id {
				m.removeLocked(adapter.ErrClusterUnavailable)
			}
		}
	}
}

// Listen adds n listeners that are no nodes, such as monitoring tools: the broker counts them, but they do not answer. A
// negative n takes some away.
func (c *Cluster) Listen(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners += n
}

// member is a node in one namespace.
type member struct {
	// Static after construction.
	cluster   *Cluster
	id        adapter.NodeID
	namespace string

	// Guarded by cluster.mu.
	receive func(*adapter.Message)
	queue   []*adapter.Message // what comes from the other nodes
	running bool               // a goroutine takes from the queue
	left    error              // why the member is no part of the cluster any more
}

// Start implements adapter.Bus, as do the methods below.
func (m *member) Start(receive func(*adapter.Message)) error {
	c := m.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	m.receive = receive
	if c.members == nil {
		c.members = make(map[string][]*member)
	}
	c.members[m.namespace] = append(c.members[m.namespace], m)
	return nil
}

func (m *member) ID() adapter.NodeID { return m.id }

// unavailableLocked says why the member reaches nobody.
func (m *member) unavailableLocked() error {
	if m.left == nil && m.cluster.cut[m.id] {
		return adapter.ErrClusterUnavailable
	}
	return m.left
}

// postLocked puts a message into another member's queue.
func (m *member) postLocked(to *member, message *adapter.Message) {
	if m.unavailableLocked() == nil && to.unavailableLocked() == nil {
		to.queue = append(to.queue, message)
		to.wakeLocked()
	}
}

func (m *member) wakeLocked() {
	if !m.running && len(m.queue) > 0 && !m.cluster.frozen[m.id] {
		m.running = true
		go m.work()
	}
}

// work hands over what is in the queue until there is no more.
func (m *member) work() {
	c := m.cluster
	for {
		c.mu.Lock()
		if len(m.queue) == 0 || c.frozen[m.id] {
			m.running = false
			c.mu.Unlock()
			return
		}
		message := m.queue[0]
		m.queue = m.queue[1:]
		c.mu.Unlock()
		m.receive(message)
	}
}

func (m *member) Publish(message *adapter.Message) error {
	sent := *message
	sent.From = m.id
	sent.Selection = adapter.Selection{Rooms: slices.Clone(message.Selection.Rooms), Except: slices.Clone(message.Selection.Except)}
	sent.Rooms = slices.Clone(message.Rooms)
	c := m.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.members[m.namespace] {
		if o != m {
			m.postLocked(o, &sent)
		}
	}
	return m.unavailableLocked()
}

func (m *member) Respond(question, answer *adapter.Message) {
	sent := *answer
	sent.From = m.id
	c := m.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nameless[m.id] {
		if answer.Kind == adapter.KindGone {
			return
		}
		sent.From, sent.SocketID = "", ""
	}
	for _, o := range c.members[m.namespace] {
		if o.id == question.From {
			m.postLocked(o, &sent)
		}
	}
}

func (m *member) Count(context.Context) (int, error) {
	c := m.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.members[m.namespace]) + c.listeners, m.unavailableLocked()
}

func (m *member) Listening(context.Context) {}

func (m *member) Nodes(context.Context) ([]adapter.NodeID, error) {
	c := m.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []adapter.NodeID
	for _, o := range c.members[m.namespace] {
		ids = append(ids, o.id)
	}
	return ids, m.unavailableLocked()
}

// Losses counts the cuts of this node.
func (m *member) Losses() uint64 {
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	return m.cluster.losses[m.id]
}

func (m *member) Close() error {
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	m.removeLocked(adapter.ErrClosed)
	return nil
}

func (m *member) removeLocked(why error) {
	c := m.cluster
	m.left, m.queue = why, nil
	c.members[m.namespace] = slices.DeleteFunc(slices.Clone(c.members[m.namespace]), func(o *member) bool { return o == m })
}
