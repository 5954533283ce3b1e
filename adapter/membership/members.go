package membership

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Members are the nodes of the cluster as this node knows them. All methods may be called concurrently; those without a
// context never block, except for Close. A node that ends without Close falls silent for the others, no more.
type Members struct {
	// Static after construction.
	opts      Options
	settings  map[string]string
	transport Transport
	log       *slog.Logger
	ctx       context.Context // ends with Close
	stop      context.CancelFunc
	wake      chan struct{} // there is something to do for keep
	news      chan struct{} // there is something to do for dispatch
	running   sync.WaitGroup
	closing   sync.Once
	reached   chan struct{} // closed by reach
	reach     func()

	// Written with mu held.
	quiet atomic.Int32 // members that are not alive, or in doubt

	mu sync.Mutex
	// Guarded by mu: this node.
	self   Node
	life   int // number of self.Life
	topics ownTopics
	hello  [][]byte // encoded; nil after something in it has changed
	every  time.Duration

	// Guarded by mu: the others.
	members   map[ID]*member
	named     map[string][]*member // by name
	serving   map[string][]*member // by topic, sorted by id
	graves    graves
	strangers map[ID]struct{} // nodes with other settings
	conflicts map[string]struct{}
	stats     Stats
	canaries  canaries

	// Guarded by mu: the broker.
	connected bool
	epoch     uint64    // changes with every up and down
	echoed    time.Time // when this node last heard itself on All; zero if it never did
	deaf      time.Time // when it was last seen that it does not any more
	refused   bool      // the broker's user may not publish on Common

	// Guarded by mu: what is to be done.
	closed   bool
	work     bool      // keep has to look again
	due      time.Time // when keep looks again by itself
	beatAt   time.Time
	lookAt   time.Time // when something may be concluded, not later than that
	topicsAt time.Time // before that no topics are told
	answerAt time.Time // when strangers are answered on Common; zero for never
	out      []letter
	notices  []notice
	watchers []*watcher // replaced, never changed
	asks     seldom     // nodes that were asked for a hello
	overs    seldom     // nodes that were told that a life is over
	doubted  []ID       // members in doubt that the broker has not been asked about
	asking   bool       // a goroutine asks the broker
}

// member is what is known of another node. Guarded by Members.mu.
type member struct {
	node     Node
	life     int           // number of node.Life
	every    time.Duration // what it promises
	fresh    time.Time     // when it was last heard or got a fresh allowance
	doubt    time.Time     // when its life is over if nothing is heard of it; zero if there is no doubt
	renewed  time.Time     // when it began another life
	asked    time.Time     // when it was last asked for a hello
	warned   bool          // that it has this node's name
	marks    bool          // it has answered a canary with its mark: what has none is no answer
	version  uint64        // of topics; 0 before they are known
	topics   map[string]struct{}
	gathered *gathering // topics of a newer version that have not all come
}

func (mem *member) quiet() bool { return mem.node.State != Alive || !mem.doubt.IsZero() }

// Stats counts what was not taken or not sent.
type Stats struct {
	Members   int    // that are known now, this node not included
	Malformed uint64 // bodies that are too long, are not JSON, or have fields of another form
	Full      uint64 // bodies of nodes for which there was no room
	Strangers uint64 // hellos with other settings or of another wire version
	Unsent    uint64 // bodies that the transport did not take, except on the common channel
}

// New starts: it says hello as soon as the transport is up. When it fails the transport is left to the caller.
func New(o Options, t Transport) (*Members, error) {
	settings, err := o.complete()
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &Members{
		opts: o, settings: settings, transport: t, log: o.Logger, ctx: ctx, stop: stop,
		wake: make(chan struct{}, 1), news: make(chan struct{}, 1), reached: make(chan struct{}),
		self: o.Self, life: o.Self.ID.number(o.Self.Life), topics: newOwnTopics(), every: o.Interval,
		members: make(map[ID]*member), named: make(map[string][]*member), serving: make(map[string][]*member), graves: newGraves(),
		strangers: make(map[ID]struct{}), conflicts: make(map[string]struct{}),
		asks: make(seldom), overs: make(seldom), due: time.Now(),
	}
	m.reach = sync.OnceFunc(func() { close(m.reached) })
	if err := t.Start(m.receive, m.up, m.down); err != nil {
		m.end()
		return nil, fmt.Errorf("start the transport of the membership: %w", err)
	}
	m.running.Go(m.keep)
	m.running.Go(m.dispatch)
	return m, nil
}

// Close says good-bye, ends all goroutines, waits for them and closes the transport. It waits for a watcher that is at work,
// and may therefore not be called by one, nor by OnSelf. Further calls do nothing but wait.
func (m *Members) Close() {
	m.closing.Do(func() {
		m.end()
		if err := m.transport.Close(); err != nil {
			m.log.Debug("closing the transport of the membership failed", "err", err)
		}
	})
}

func (m *Members) end() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.stop()
	m.running.Wait()
}

// unlock lets go of mu and wakes the goroutines that have got something to do.
func (m *Members) unlock() {
	work, news := m.work, len(m.notices) > 0
	m.work = false
	m.mu.Unlock()
	if work {
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
	if news {
		select {
		case m.news <- struct{}{}:
		default:
		}
	}
}

// Reached returns a channel that is closed when the broker could be reached for the first time.
func (m *Members) Reached() <-chan struct{} { return m.reached }

// Self returns this node as it is called now.
func (m *Members) Self() Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.self
}

// SetDraining has the others know that this node drains, or does not any more, see Node.
func (m *Members) SetDraining(on bool) {
	m.mu.Lock()
	defer m.unlock()
	if m.self.Draining == on {
		return
	}
	m.self.Draining = on
	m.hello = nil
	beat := m.headerLocked(kindBeat)
	m.tellLocked(All, &beat)
}

// Nodes returns this node, and then the others by name; silent and absent ones included.
func (m *Members) Nodes() []Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	nodes := append(make([]Node, 0, 1+len(m.members)), m.self)
	for _, mem := range m.byNameLocked() {
		nodes = append(nodes, mem.node)
	}
	return nodes
}

func (m *Members) byNameLocked() []*member {
	return slices.SortedFunc(maps.Values(m.members), func(a, b *member) int {
		return cmp.Or(cmp.Compare(a.node.Name, b.node.Name), cmp.Compare(a.node.ID, b.node.ID))
	})
}

// Lookup returns a node that is known; this node is.
func (m *Members) Lookup(id ID) (Node, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if id == m.self.ID {
		return m.self, true
	}
	if mem := m.members[id]; mem != nil {
		return mem.node, true
	}
	return Node{}, false
}

// Serving returns the other members that serve a topic: those to wait for, and those that are silent. Absent ones are in
// neither. Both are sorted, and the caller's.
func (m *Members) Serving(topic string) (alive, silent []ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	members := m.serving[topic]
	if len(members) > 0 {
		alive = make([]ID, 0, len(members))
	}
	for _, mem := range members {
		switch mem.node.State {
		case Alive:
			alive = append(alive, mem.node.ID)
		case Silent:
			silent = append(silent, mem.node.ID)
		}
	}
	return alive, silent
}

// Serves reports whether another member is alive and serves a topic.
func (m *Members) Serves(id ID, topic string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	mem := m.members[id]
	if mem == nil || mem.node.State != Alive {
		return false
	}
	_, serves := mem.topics[topic]
	return serves
}

// Stats returns the counters.
func (m *Members) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	s.Members = len(m.members)
	return s
}

// seldom remembers when something was last done for a node, so that a flood of messages does not make another one.
type seldom map[ID]time.Time

// pass reports true when it has not done so for the node within a second.
func (s seldom) pass(id ID, now time.Time) bool {
	if last, ok := s[id]; ok && now.Sub(last) < time.Second {
		return false
	}
	if len(s) >= maxMembers {
		clear(s)
	}
	s[id] = now
	return true
}

// graves remember the lives that are over, as many as there may be members.
type graves struct {
	lives map[ID]int // the number of the last life that is over
	order []ID       // a ring once it is full
	next  int
}

func newGraves() graves { return graves{lives: make(map[ID]int)} }

func (g *graves) dig(id ID, life int) {
	if _, known := g.lives[id]; !known {
		if len(g.order) < maxMembers {
			g.order = append(g.order, id)
		} else {
			delete(g.lives, g.order[g.next])
			g.order[g.next] = id
			g.next = (g.next + 1) % maxMembers
		}
	}
	g.lives[id] = max(g.lives[id], life)
}
