package adapter

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// censusTimeout bounds how long the broker may take to list the nodes.
	censusTimeout = time.Second
	// recentAge is how old a complete answer may be that tells which nodes there were. Otherwise the broker is asked, for which
	// it spends no more than one part in listingShare of its time: what is older than oldAge does not tell.
	recentAge    = 2 * time.Second
	oldAge       = 10 * time.Second
	listingShare = 1000
	// reassembleTime is how long the other nodes get to subscribe again after the broker was away, and recountInterval how often
	// they are counted meanwhile.
	reassembleTime  = time.Second
	recountInterval = 50 * time.Millisecond
)

// census knows which nodes exist, and which of them are not worth waiting for.
//
// Normally the broker's count suffices, with a list now and then. It does not while something listens that is no node, or while
// some node is known to be silent: then each question begins with a list of the nodes.
type census struct {
	// Static after construction.
	bus  Bus
	log  *slog.Logger
	ctx  context.Context // ends with close
	stop context.CancelFunc

	running    sync.WaitGroup
	suspicious atomic.Bool // suspects is not empty; spares the lock for each message

	mu sync.Mutex
	// Guarded by mu.
	latest    *listing
	listeners int                 // how many were counted that are no nodes
	suspects  map[NodeID]struct{} // nodes that exist and did not answer in all the time they had
	speakers  map[NodeID]struct{} // nodes that answer with their name, in a cluster in which others do not
	before    roll
	whole     uint64 // the losses of the bus after which the nodes have been waited for
}

// roll is who the other nodes were: those that answered the last complete question, or those of a list.
type roll struct {
	at      time.Time // when the question was asked; zero with a list
	named   []NodeID  // sorted, never changed
	unnamed int       // how many there were besides, whose answers have no name
	listed  *listing  // nil when it is known from answers
	self    NodeID    // to be left out of the list
}

// listing is one question to the broker which nodes there are.
type listing struct {
	began time.Time
	done  chan struct{}
	// Set before done is closed.
	nodes []NodeID // sorted
	err   error
	took  time.Duration
}

// over reports whether the broker has answered.
func (l *listing) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// restAge is how old a listing that is over must be before another one is made in advance.
func (l *listing) restAge() time.Duration {
	if l.err != nil { // how long that took says nothing about what the next one costs
		return oldAge
	}
	return max(recentAge, l.took*listingShare)
}

// nodes lists the nodes, sorted; the list is not older than since. Calls share what they ask the broker, so that it is
// asked once at a time.
func (c *census) nodes(ctx context.Context, since time.Time) ([]NodeID, error) {
	for {
		l := c.listing(since)
		select {
		case <-l.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !l.began.Before(since) || c.ctx.Err() != nil {
			return l.nodes, l.err
		}
	}
}

// listing returns the latest listing, or begins one if that is over and too old.
func (c *census) listing(since time.Time) *listing {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.listingLocked(since)
}

func (c *census) listingLocked(since time.Time) *listing {
	if l := c.latest; l != nil && (!l.over() || !l.began.Before(since)) {
		return l
	}
	l := &listing{began: time.Now(), done: make(chan struct{})}
	c.latest = l
	if c.ctx.Err() != nil {
		l.err = ErrClosed
		close(l.done)
		return l
	}
	c.running.Go(func() {
		defer close(l.done)
		ctx, cancel := context.WithTimeout(c.ctx, censusTimeout)
		defer cancel()
		nodes, err := c.bus.Nodes(ctx)
		l.nodes, l.err = slices.Clone(nodes), err
		slices.Sort(l.nodes)
		l.took = time.Since(l.began)
	})
	return l
}

// others compares a list of the nodes with their number, and returns all but this one, and those that are worth waiting
// for.
func (c *census) others(count int, nodes []NodeID) (others, awaited []NodeID) {
	self := c.bus.ID()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = max(count-len(nodes), 0)
	for _, known := range []map[NodeID]struct{}{c.suspects, c.speakers} {
		for id := range known {
			if _, exists := slices.BinarySearch(nodes, id); !exists {
				delete(known, id)
			}
		}
	}
	c.suspicious.Store(len(c.suspects) > 0)
	for _, id := range nodes {
		if id == self {
			continue
		}
		others = append(others, id)
		if _, suspect := c.suspects[id]; !suspect {
			awaited = append(awaited, id)
		}
	}
	return others, awaited
}

// doubtful reports whether the broker's count alone would mislead.
func (c *census) doubtful() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.listeners > 0 || len(c.suspects) > 0
}

// suspect notes that nodes were silent for a whole question.
func (c *census) suspect(nodes []NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range nodes {
		if _, already := c.suspects[id]; already {
			continue
		}
		if c.suspects == nil {
			c.suspects = make(map[NodeID]struct{})
		}
		c.suspects[id] = struct{}{}
		c.suspicious.Store(true)
		c.log.Warn("a node does not answer, nothing waits for it until it says something", "node", id)
	}
}

// heard clears the node that sent a message of suspicion. A nameless answer clears all from which it can be.
func (c *census) heard(m *Message) {
	if !c.suspicious.Load() || m.From == "" && m.Kind < KindSockets {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.From != "" {
		delete(c.suspects, m.From)
	} else {
		for id := range c.suspects {
			if _, speaks := c.speakers[id]; !speaks {
				delete(c.suspects, id)
			}
		}
	}
	c.suspicious.Store(len(c.suspects) > 0)
}

// learn notes which nodes tell their names, from the parts of a question that some others answered without. When there are
// too many, because most of them have gone, those of this question are enough.
func (c *census) learn(parts map[NodeID]*part) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.speakers == nil || len(c.speakers) > maxAnswers {
		c.speakers = make(map[NodeID]struct{})
	}
	for id := range parts {
		if id != "" {
			c.speakers[id] = struct{}{}
		}
	}
}

// speaking returns those of nodes that tell their names.
func (c *census) speaking(nodes []NodeID) (list []NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range nodes {
		if _, speaks := c.speakers[id]; speaks {
			list = append(list, id)
		}
	}
	return list
}

// complete notes that these nodes, and no others, have answered a question.
func (c *census) complete(began time.Time, parts map[NodeID]*part) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if began.Before(c.before.at) {
		return
	}
	c.before.at, c.before.unnamed = began, 0
	if p := parts[""]; p != nil {
		c.before.unnamed = p.reports
	}
	named := 0
	for _, id := range c.before.named {
		if parts[id] != nil {
			named++
		}
	}
	if all := len(parts) - min(1, c.before.unnamed); named != all || named != len(c.before.named) {
		c.before.named = make([]NodeID, 0, all)
		for id := range parts {
			if id != "" {
				c.before.named = append(c.before.named, id)
			}
		}
		slices.Sort(c.before.named)
	}
}

// recent returns which other nodes there were shortly before. If that is not known it may be asked, which does not wait.
func (c *census) recent(now time.Time) roll {
	self := c.bus.ID()
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.before.at) <= recentAge {
		return c.before
	}
	l := c.latest
	if l == nil || l.over() && now.Sub(l.began) > l.restAge() {
		l = c.listingLocked(now)
	}
	switch failed := l.over() && l.err != nil; {
	case !failed && now.Sub(l.began) <= oldAge && !l.began.Before(c.before.at):
		return roll{listed: l, self: self}
	case now.Sub(c.before.at) <= oldAge:
		return c.before
	}
	return roll{}
}

// resolve sets named once the list is there.
func (r *roll) resolve() {
	if r.listed != nil && r.named == nil && r.listed.over() {
		r.named = slices.DeleteFunc(slices.Clone(r.listed.nodes), func(id NodeID) bool { return id == r.self })
	}
}

// scattered returns how many were counted before the bus lost the broker, if the others have not been waited for since.
func (c *census) scattered(losses uint64) (count int, yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return 1 + len(c.before.named) + c.before.unnamed + c.listeners, losses != c.whole
}

// gathered notes that they have been waited for.
func (c *census) gathered(losses uint64) {
	c.mu.Lock()
	c.whole = losses
	c.mu.Unlock()
}

// close ends a listing that is under way.
func (c *census) close() {
	c.mu.Lock()
	c.stop() // with mu held: no listing begins afterwards
	c.mu.Unlock()
	c.running.Wait()
}
