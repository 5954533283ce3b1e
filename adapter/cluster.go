package adapter

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter/membership"
)

// NodeID names a node of the cluster: a server from its start to its end, the same in all its namespaces. The empty NodeID is a
// node that cannot be named.
type NodeID = membership.ID

// NodeIDs takes names for nodes.
func NodeIDs(names []string) []NodeID {
	ids := make([]NodeID, len(names))
	for i, name := range names {
		ids[i] = NodeID(name)
	}
	return ids
}

// Node is what is known of a node, see membership.Node.
type Node = membership.Node

// Secret is what only the nodes of a cluster are told, see membership.Secret.
type Secret = membership.Secret

// NodeState says whether a node is heard, see membership.State.
type NodeState = membership.State

// States of a node.
const (
	NodeAlive  = membership.Alive
	NodeSilent = membership.Silent
	NodeAbsent = membership.Absent
	NodeOver   = membership.Over
)

// NodeChange is what happened to a node, see membership.Change.
type NodeChange = membership.Change

// NewNodeID draws the id of a server that starts: 16 hexadecimal digits, 64 random bits.
func NewNodeID() NodeID { return membership.NewID() }

// TagOf draws the tag with which a node's session ids begin from its name, so that it is the same after a restart.
func TagOf(name string) string { return membership.TagOf(name) }

// Builder connects servers to a cluster. Several servers may share one.
type Builder interface {
	// Open makes a server a node of the cluster: self has at least an ID and a Name. It is called once for each server, and does
	// not wait for the other nodes. changed, which may be nil, is told when the node's Name, Tag or Life had to change.
	Open(self Node, changed func(Node)) (Cluster, error)
}

// Cluster is one server's place in its cluster. All methods may be called concurrently.
type Cluster interface {
	// New makes the adapter of a namespace. It must not wait for a call of local before it returns; other nodes may already be
	// heard.
	New(local Local) (Adapter, error)

	// Self tells what the other nodes know of this one.
	Self() Node

	// Nodes lists the nodes that are known, this one first, then by name, silent ones included. It waits until the broker could
	// be reached for the first time, and returns ErrClusterUnavailable beside the list when ctx ends first. The others are
	// known when they have answered, a round trip later; Watch tells. Nodes of other implementations are not in it.
	Nodes(ctx context.Context) ([]Node, error)

	// Watch tells f what happens to nodes, one change after the other, beginning with those that are known. f must not block for
	// long, and must not close the cluster, which waits for it.
	Watch(f func(NodeChange)) (stop func())

	// SetDraining has the other nodes know that this one drains, or does not any more. It does not wait.
	SetDraining(on bool)

	// Close leaves the cluster. The adapters must be closed before. It is idempotent.
	Close() error
}

// BuilderFunc is a Builder of servers that are alone, as far as other nodes are concerned: the function makes the adapter of each
// namespace.
type BuilderFunc func(local Local) (Adapter, error)

// Open returns a cluster of one node.
func (f BuilderFunc) Open(self Node, _ func(Node)) (Cluster, error) {
	return &alone{build: f, self: self}, nil
}

// alone is the cluster of a server that has no other nodes.
type alone struct {
	// Static.
	build BuilderFunc
	self  Node

	draining atomic.Bool
}

func (a *alone) New(local Local) (Adapter, error)       { return a.build(local) }
func (a *alone) Nodes(context.Context) ([]Node, error)  { return []Node{a.Self()}, nil }
func (a *alone) Watch(f func(NodeChange)) (stop func()) { return func() {} }
func (a *alone) SetDraining(on bool)                    { a.draining.Store(on) }
func (a *alone) Close() error                           { return nil }

func (a *alone) Self() Node {
	self := a.self
	self.Draining = a.draining.Load()
	return self
}

// Broker is what a message broker has to provide for one server. [Join] makes a Cluster of it. The messages of its buses and
// those of the membership travel over the same connections.
type Broker interface {
	membership.Transport

	// Bus makes the bus of a namespace. local is a RoomExpecter.
	Bus(local Local) (Bus, error)
}

// Join makes a server a node of the cluster that a broker reaches. opts may be nil. The cluster closes the broker.
func Join(self Node, changed func(Node), broker Broker, opts *ClusterOptions) (Cluster, error) {
	j := &joined{broker: broker, began: time.Now(), namespaces: make(map[*clustered]bool), serving: make(map[string]int)}
	if opts != nil {
		j.opts = *opts
	}
	j.opts.setDefaults()
	members, err := membership.New(membership.Options{
		Self: self, Settings: j.opts.Settings, OverAfter: j.opts.OverAfter, Logger: j.opts.Logger, OnSelf: changed,
	}, broker)
	if err != nil {
		return nil, err
	}
	j.members = members
	members.Watch(j.changed)
	return j, nil
}

// joined is a Cluster over a broker.
type joined struct {
	// Static after construction.
	broker  Broker
	began   time.Time
	opts    ClusterOptions
	members *membership.Members

	mu sync.Mutex
	// Guarded by mu.
	namespaces map[*clustered]bool // whether the others have been told
	serving    map[string]int      // adapters of a namespace that they have been told of; two only while one is replaced
}

func (j *joined) New(local Local) (Adapter, error) {
	return newClustered(local, j)
}

func (j *joined) Self() Node { return j.members.Self() }

func (j *joined) Nodes(ctx context.Context) ([]Node, error) {
	select {
	case <-j.members.Reached():
		return j.members.Nodes(), nil
	case <-ctx.Done():
		return j.members.Nodes(), errors.Join(ErrClusterUnavailable, ctx.Err())
	}
}

func (j *joined) SetDraining(on bool) { j.members.SetDraining(on) }

func (j *joined) Watch(f func(NodeChange)) (stop func()) { return j.members.Watch(f) }

// Close says good-bye and closes the broker.
func (j *joined) Close() error {
	j.members.Close()
	return nil
}

// add makes an adapter hear what happens to nodes.
func (j *joined) add(c *clustered) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.namespaces[c] = false
}

// serve tells the other nodes that this one hears what is said in a namespace, remove that it does not any more.
func (j *joined) serve(c *clustered) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, open := j.namespaces[c]; !open {
		return
	}
	j.namespaces[c] = true
	namespace := c.local.Name()
	if j.serving[namespace]++; j.serving[namespace] == 1 {
		j.members.Serve(namespace)
	}
}

func (j *joined) remove(c *clustered) {
	j.mu.Lock()
	defer j.mu.Unlock()
	served := j.namespaces[c]
	delete(j.namespaces, c)
	if !served {
		return
	}
	namespace := c.local.Name()
	if j.serving[namespace]--; j.serving[namespace] == 0 {
		delete(j.serving, namespace)
		j.members.Unserve(namespace)
	}
}

// changed passes on what the questions of the namespaces have to know.
func (j *joined) changed(change NodeChange) {
	j.mu.Lock()
	list := make([]*clustered, 0, len(j.namespaces))
	for c := range j.namespaces {
		list = append(list, c)
	}
	j.mu.Unlock()
	left := make(map[string]bool, len(change.Unserved))
	for _, namespace := range change.Unserved {
		left[namespace] = true
	}
	for _, c := range list {
		c.memberChanged(change, left[c.local.Name()])
	}
	j.tell(change)
}

// tell logs that a node has come, gone, fallen silent or is heard again.
func (j *joined) tell(change NodeChange) {
	n, log := change.Node, j.opts.Logger.With("node", change.Node.Name, "id", change.Node.ID, "reason", change.Reason)
	switch {
	case n.State == NodeOver:
		log.Info("a node has left the cluster")
	case !change.Known:
		log.Info("a node has joined the cluster", "address", n.Address)
	case change.Reason == "draining" && n.Draining:
		log.Info("a node drains: it sends its clients away")
	case change.Reason == "draining":
		log.Info("a node does not drain any more")
	case n.State == change.Was:
	case n.State == NodeSilent:
		log.Warn("a node is silent, nothing waits for it until it says something")
	case n.State == NodeAbsent:
		log.Warn("a node has vanished, nothing waits for it until it says something")
	default:
		log.Info("a node is heard again")
	}
}
