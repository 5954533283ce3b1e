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
	brokers   map[adapter.NodeID]*broker
	listeners int
	cut       set
	losses    map[adapter.NodeID]uint64 // counts cuts
	frozen    set
	nameless  set
}

type set map[adapter.NodeID]bool

// Node returns the builder of one node, which gets that id and name. It is part of the cluster until its server shuts down.
func (c *Cluster) Node(id adapter.NodeID) adapter.Builder { return node{c, id, nil} }

// NodeWith is Node with options.
func (c *Cluster) NodeWith(id adapter.NodeID, opts *adapter.ClusterOptions) adapter.Builder {
	return node{c, id, opts}
}

type node struct {
	cluster *Cluster
	id      adapter.NodeID
	opts    *adapter.ClusterOptions
}

// Open implements adapter.Builder.
func (n node) Open(self adapter.Node, changed func(adapter.Node)) (adapter.Cluster, error) {
	self.ID, self.Name, self.Life = n.id, string(n.id), string(n.id)
	self.Tag = adapter.TagOf(self.Name)
	return adapter.Join(self, changed, n.cluster.Broker(n.id), n.opts)
}

// Broker returns the broker of one node, for adapter.Join.
func (c *Cluster) Broker(id adapter.NodeID) adapter.Broker {
	return &broker{station: station{cluster: c, id: id}}
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
	if b := c.brokers[id]; b != nil {
		b.signalLocked(false)
	}
}

// Heal ends a Cut.
func (c *Cluster) Heal(id adapter.NodeID) {
	c.mu.Lock()
	cut := c.cut[id]
	c.mu.Unlock()
	c.change(&c.cut, id, false)
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.brokers[id]; b != nil && cut {
		b.signalLocked(true)
	}
}

// Freeze stops a node like SIGSTOP: it is still listed, and takes what was sent to it only after Thaw.
func (c *Cluster) Freeze(id adapter.NodeID) { c.change(&c.frozen, id, true) }

// Thaw ends a Freeze.
func (c *Cluster) Thaw(id adapter.NodeID) { c.change(&c.frozen, id, false) }

// Conceal leaves a node's name out of its answers, and what else Node's nodes do not tell with the classic adapter: the
// ids of the sockets that acknowledge, and which ones have gone. Such a node takes no part in the membership either: it should be
// concealed before it opens.
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
	if b := c.brokers[id]; b != nil {
		b.wakeLocked()
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
	if b := c.brokers[id]; b != nil {
		delete(c.brokers, id)
		b.queue = nil
		b.signalLocked(false)
		b.left = adapter.ErrClusterUnavailable
	}
}

// Listen adds n listeners that are no nodes, such as monitoring tools: the broker counts them, but they do not answer. A
// negative n takes some away.
func (c *Cluster) Listen(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners += n
}

// member is a node in one namespace: an adapter.Bus.
type member struct {
	station
	namespace string                 // static after construction
	receive   func(*adapter.Message) // guarded by cluster.mu
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

func (m *member) Publish(message *adapter.Message) error {
	return m.send(message, func(*member) bool { return true })
}

// Send gives receipts, of what is no question.
func (m *member) Send(to adapter.NodeID, message *adapter.Message) error {
	receivers := 0
	err := m.send(message, func(o *member) bool {
		if o.id == to {
			receivers++
		}
		return o.id == to
	})
	if err == nil && message.Sent != nil && message.Request == "" {
		message.Sent(adapter.Receipt{Receivers: receivers})
	}
	return err
}

func (m *member) send(message *adapter.Message, to func(*member) bool) error {
	sent := *message
	sent.From, sent.Sent = m.id, nil
	sent.Selection = adapter.Selection{Rooms: slices.Clone(message.Selection.Rooms), Except: slices.Clone(message.Selection.Except)}
	sent.Rooms = slices.Clone(message.Rooms)
	c := m.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.members[m.namespace] {
		if o != m && to(o) {
			m.postLocked(&o.station, func() { o.receive(&sent) })
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
			m.postLocked(&o.station, func() { o.receive(&sent) })
		}
	}
}

func (m *member) Count(context.Context) (int, error) {
	c := m.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.members[m.namespace]) + c.listeners, m.unavailableLocked()
}

// Listening does not wait: who has started is heard.
func (m *member) Listening(context.Context) error { return nil }

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
