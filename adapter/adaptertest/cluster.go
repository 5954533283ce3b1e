package adaptertest

import (
	"context"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// answerTimeout is how long a question waits for the other nodes when its context has no deadline.
const answerTimeout = 5 * time.Second

// Cluster is a cluster within one process, for tests of applications that run on several nodes and of whatever stands on
// an adapter:
//
//	var cluster adaptertest.Cluster
//	one, err := server.New(&server.Options{Adapter: cluster.Node("one")})
//	two, err := server.New(&server.Options{Adapter: cluster.Node("two")})
//
// As over a network, what goes to another node arrives later, in the order in which it was sent; a node takes what comes
// to it one after the other. Nothing is encoded, and nothing is lost unless a node is cut off. It works inside a
// testing/synctest bubble. The zero value is a cluster without nodes; all methods may be called from any goroutine.
type Cluster struct {
	mu sync.Mutex
	// Guarded by mu.
	members map[string][]*member // by namespace, in the order in which they joined
	cut     map[adapter.NodeID]bool
}

// Node returns the builder of the adapters of one node. The node is part of the cluster, in each of its namespaces, from
// the moment the namespace exists until its adapter closes.
func (c *Cluster) Node(id adapter.NodeID) adapter.Builder {
	return adapter.BuilderFunc(func(local adapter.Local) (adapter.Adapter, error) {
		own, err := adapter.Memory().New(local)
		if err != nil {
			return nil, err
		}
		m := &member{cluster: c, id: id, local: local, own: own}
		m.ctx, m.leave = context.WithCancelCause(context.Background())
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.members == nil {
			c.members = make(map[string][]*member)
		}
		c.members[local.Name()] = append(c.members[local.Name()], m)
		return m, nil
	})
}

// Cut takes a node off the network: what it and the others send to each other from now on is lost, until Heal. The
// others still count it among the servers, and find it missing when it does not answer.
func (c *Cluster) Cut(id adapter.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut == nil {
		c.cut = make(map[adapter.NodeID]bool)
	}
	c.cut[id] = true
}

// Heal ends a Cut.
func (c *Cluster) Heal(id adapter.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.cut, id)
}

// member is a node in one namespace.
type member struct {
	// Static after construction.
	cluster *Cluster
	id      adapter.NodeID
	local   adapter.Local
	own     adapter.Adapter // for this node's part
	ctx     context.Context // ends when the member leaves
	leave   context.CancelCauseFunc

	// Guarded by cluster.mu.
	queue   []func() // what comes from the other nodes
	running bool     // a goroutine takes from the queue
}

// send puts work into the queues of the other members and returns who they are. It fails if this node is cut off.
func (m *member) send(flags adapter.Flags, work func(to *member) func()) (others []*member, err error) {
	if flags.Local {
		return nil, nil
	}
	c := m.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.members[m.local.Name()] {
		if o == m {
			continue
		}
		others = append(others, o)
		f := work(o)
		if c.cut[m.id] || c.cut[o.id] {
			continue
		}
		o.queue = append(o.queue, f)
		if !o.running {
			o.running = true
			go o.receive()
		}
	}
	if c.cut[m.id] && len(others) > 0 {
		err = adapter.ErrClusterUnavailable
	}
	return others, err
}

// receive does what the other nodes ask for until there is no more.
func (m *member) receive() {
	c := m.cluster
	for {
		c.mu.Lock()
		if len(m.queue) == 0 {
			m.queue, m.running = nil, false
			c.mu.Unlock()
			return
		}
		f := m.queue[0]
		m.queue = m.queue[1:]
		c.mu.Unlock()
		if m.ctx.Err() == nil {
			f()
		}
	}
}

// tell makes the other members do something that has no answer.
func (m *member) tell(flags adapter.Flags, do func(local adapter.Local)) error {
	_, err := m.send(flags, func(to *member) func() { return func() { do(to.local) } })
	return err
}

// ask puts a question to the other members and gathers their answers. answer is called at most once for each.
func ask[T any](ctx context.Context, m *member, flags adapter.Flags, question func(local adapter.Local, answer func(T))) (adapter.Result[T], error) {
	var result adapter.Result[T]
	if _, ok := ctx.Deadline(); !ok {
		// The error of a context that the caller has not ended is not for the caller.
		limited, cancel := context.WithTimeout(ctx, answerTimeout)
		defer cancel()
		r, err := ask(limited, m, flags, question)
		if ctx.Err() == nil && err == context.DeadlineExceeded {
			err = nil
		}
		return r, err
	}
	answers := make(map[*member]chan T)
	others, err := m.send(flags, func(to *member) func() {
		c := make(chan T, 1)
		answers[to] = c
		return func() { question(to.local, func(v T) { c <- v }) }
	})
	if err != nil {
		return result, err
	}
	for _, o := range others {
		select {
		case v := <-answers[o]:
			answers[o] <- v
		case <-o.ctx.Done():
		case <-m.ctx.Done():
			return result, context.Cause(m.ctx)
		case <-ctx.Done():
			err = ctx.Err()
		}
		select {
		case v := <-answers[o]:
			result.Values = append(result.Values, v)
		default:
			if o.ctx.Err() == nil { // who has left is not missing
				result.Missing = append(result.Missing, o.id)
				result.Unanswered++
			}
		}
	}
	return result, err
}
