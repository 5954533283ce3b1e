package adapter

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// orderPatience is how long a message waits at most for those that were sent before it.
	orderPatience = 100 * time.Millisecond
	// orderQueue is how many messages of one sender wait at most. Beyond it the order is given up, and more are not taken until some
	// have been handled.
	orderQueue = 10_000
	// orderSenders is how many senders are known by their numbers: whoever can publish can invent some.
	orderSenders = 4096
)

// OrderStats count what the order of messages has cost. They only grow.
type OrderStats struct {
	// Waited counts messages that did not get their turn at once, Late how often the wait for what was sent before was given up.
	Waited, Late uint64
	// Skipped messages to this node alone never came, as far as the numbers of those behind them tell.
	Skipped uint64
}

// Plus returns the sums.
func (s OrderStats) Plus(t OrderStats) OrderStats {
	return OrderStats{Waited: s.Waited + t.Waited, Late: s.Late + t.Late, Skipped: s.Skipped + t.Skipped}
}

// order hands the messages of each sender on in the order in which they were sent, also where they come on several channels, and
// has what was sent after a server-side event wait until the event's handlers have returned. No message waits for longer than
// orderPatience for either. A goroutine exists for a sender while a message of it waits; it ends soon after close.
type order struct {
	// Static after begin.
	do   func(m *Message) (handled <-chan struct{})
	done chan struct{} // closed by close

	waited, late, skipped atomic.Uint64
	waiting               atomic.Int64 // messages that were queued and have not been handled

	// Written with mu held.
	running atomic.Int64 // how many events there are

	mu sync.Mutex
	// Guarded by mu.
	senders map[NodeID]*sender
	events  []runningEvent
	closed  bool
}

// runningEvent is a server-side event whose handlers had not returned when it was last looked at.
type runningEvent struct {
	handled <-chan struct{}
	until   time.Time // nobody waits for it any longer
}

// sender is one node as far as the order of its messages is concerned. Its fields are guarded by order.mu.
type sender struct {
	numbered bool   // seen is known
	seen     uint64 // number of the last message to all nodes that was handled
	directed uint64 // number of the last message to this node alone
	queue    []queued
	working  bool            // a goroutine takes from the queue, and nobody else handles messages
	left     bool            // is to be forgotten when the goroutine ends
	told     chan struct{}   // capacity 1; tells the goroutine of a new message
	room     chan struct{}   // capacity 1; told by the goroutine when the queue is not too long any more
	handled  <-chan struct{} // of the last server-side event; nil when nothing waits for it
	slow     <-chan struct{} // of an event whose handlers still ran when the next message was handled
}

type queued struct {
	m     *Message
	until time.Time
}

func (o *order) begin(do func(*Message) <-chan struct{}) {
	o.do, o.done, o.senders = do, make(chan struct{}), make(map[NodeID]*sender)
}

// take hands a message on, at once or in its turn. It is called for one message at a time. It waits while messages of its sender
// are handled more slowly than they come, as it does when it handles them itself: what comes next stays with the bus.
func (o *order) take(m *Message) {
	o.mu.Lock()
	s := o.senders[m.From]
	if s == nil && (m.Seq > 0 || m.After > 0 || m.Directed > 0) {
		s = o.addLocked(m.From)
	}
	if s != nil && !o.closed {
		o.countLocked(s, m)
		if s.working || !s.ready(m) {
			o.queueLocked(s, m)
			full := len(s.queue) > orderQueue
			o.mu.Unlock()
			if full {
				select {
				case <-s.room:
				case <-o.done:
				}
			}
			return
		}
	}
	o.mu.Unlock()
	o.handle(m)
}

// handle handles a message in its turn, and has what follows a server-side event wait, unless the handlers of an earlier one are
// slow.
func (o *order) handle(m *Message) {
	handled := o.do(m)
	if handled == nil && m.Seq == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.senders[m.From]
	if s == nil {
		s = o.addLocked(m.From)
	}
	if m.Seq > s.seen || m.Seq > 0 && !s.numbered {
		s.seen, s.numbered = m.Seq, true
	}
	if handled != nil && over(s.slow) {
		s.handled, s.slow = handled, nil
		o.events = append(o.events, runningEvent{handled, time.Now().Add(orderPatience)})
		o.lookLocked()
	}
}

// unsettled reports whether messages wait for their turn, or for the handlers of a server-side event: who is in which room may
// change until those have their turn that come now.
func (o *order) unsettled() bool {
	switch {
	case o.waiting.Load() > 0:
		return true
	case o.running.Load() == 0:
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lookLocked()
	return len(o.events) > 0
}

// lookLocked forgets events that are over.
func (o *order) lookLocked() {
	now := time.Now()
	o.events = slices.DeleteFunc(o.events, func(e runningEvent) bool { return over(e.handled) || !now.Before(e.until) })
	o.running.Store(int64(len(o.events)))
}

// ready reports whether nothing that was sent before a message is missing.
func (s *sender) ready(m *Message) bool {
	switch {
	case !over(s.handled):
		return false
	case m.Seq > 0:
		return !s.numbered || m.Seq <= s.seen+1
	case m.After > 0:
		return s.numbered && m.After <= s.seen
	}
	return true
}

// countLocked notes the number of a message to this node alone.
func (o *order) countLocked(s *sender, m *Message) {
	if s.directed > 0 && m.Directed > s.directed+1 {
		o.skipped.Add(m.Directed - s.directed - 1)
	}
	s.directed = max(s.directed, m.Directed)
}

// queueLocked has a goroutine hand a message on when its turn comes.
func (o *order) queueLocked(s *sender, m *Message) {
	o.waited.Add(1)
	o.waiting.Add(1)
	s.queue = append(s.queue, queued{m, time.Now().Add(orderPatience)})
	if s.working {
		select {
		case s.told <- struct{}{}:
		default:
		}
		return
	}
	s.working = true
	go o.work(m.From, s)
}

// work hands on what waits of one sender until there is no more.
func (o *order) work(from NodeID, s *sender) {
	for {
		o.mu.Lock()
		next, wait := o.nextLocked(s)
		handled := s.handled
		if next == nil && wait == 0 {
			s.working = false
			unknown := !s.numbered && s.directed == 0 && over(s.handled) && over(s.slow)
			if (unknown || s.left) && o.senders[from] == s {
				delete(o.senders, from) // nothing is to be remembered
			}
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		if next != nil {
			o.handle(next)
			o.waiting.Add(-1)
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-handled:
		case <-s.told:
		case <-timer.C:
		case <-o.done:
		}
		timer.Stop()
	}
}

// nextLocked takes the next message from the queue, or says how long to wait for it; nil and 0 if there is none.
func (o *order) nextLocked(s *sender) (next *Message, wait time.Duration) {
	for len(s.queue) > 0 && !o.closed {
		if over(s.handled) {
			s.handled = nil
		}
		if i := s.next(); i >= 0 {
			next = s.queue[i].m
			if s.queue[i] = (queued{}); i == 0 {
				s.queue = s.queue[1:]
			} else {
				s.queue = slices.Delete(s.queue, i, i+1)
			}
			if len(s.queue) == orderQueue { // take has brought one too many, and waits
				select {
				case s.room <- struct{}{}:
				default:
				}
			}
			return next, 0
		}
		first := s.queue[0]
		if wait = time.Until(first.until); wait > 0 && len(s.queue) <= orderQueue {
			return nil, wait
		}
		o.late.Add(1)
		if s.handled != nil {
			s.slow, s.handled = s.handled, nil
			continue
		}
		s.seen, s.numbered = max(s.seen, first.m.After, first.m.Seq-min(first.m.Seq, 1)), true
	}
	s.queue = nil
	return nil, 0
}

// next returns the place in the queue of a message that may be handled now, -1 if there is none.
func (s *sender) next() int {
	if s.handled != nil {
		return -1
	}
	blocked := false // a message that is not for all nodes waits: those behind it stay behind it
	for i, q := range s.queue {
		if toAll := q.m.Seq > 0; toAll || !blocked {
			if s.ready(q.m) {
				return i
			}
			blocked = blocked || !toAll
		}
	}
	return -1
}

// addLocked begins to remember a sender. When there are too many, one is forgotten.
func (o *order) addLocked(from NodeID) *sender {
	if len(o.senders) >= orderSenders {
		for id, s := range o.senders {
			if !s.working {
				delete(o.senders, id)
				break
			}
		}
	}
	s := &sender{told: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	o.senders[from] = s
	return s
}

// forget ends what is remembered of a node whose life is over.
func (o *order) forget(id NodeID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch s := o.senders[id]; {
	case s == nil:
	case s.working:
		s.left = true
	default:
		delete(o.senders, id)
	}
}

func (o *order) stats() OrderStats {
	return OrderStats{Waited: o.waited.Load(), Late: o.late.Load(), Skipped: o.skipped.Load()}
}

// close drops what waits. It may be called by do.
func (o *order) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	close(o.done)
}

// over reports whether a channel is closed; nil counts as closed.
func over(c <-chan struct{}) bool {
	if c == nil {
		return true
	}
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// numbers are those of the messages of this node, where they take several ways.
type numbers struct {
	// Static after construction. The first number is one more: more than any adapter can have sent that the node had in the
	// namespace before, so that what the others know of that one does no harm.
	base uint64 // microseconds since the node has joined

	mu sync.Mutex
	// Guarded by mu, which is held while the bus queues a numbered message: the numbers are in the order of sending.
	last  uint64            // of the messages to all nodes
	inbox map[NodeID]uint64 // of those to one node alone
}

// publish publishes a message, with a number if the bus is parted.
func (c *clustered) publish(m *Message) error {
	if c.parted == nil {
		return c.bus.Publish(m)
	}
	n := &c.numbers
	n.mu.Lock()
	defer n.mu.Unlock()
	if !c.parted.ToAll(m) {
		m.After = n.last
		return c.bus.Publish(m)
	}
	m.Seq = max(n.last, n.base) + 1
	if m.numbered != nil {
		m.numbered(m.Seq)
	}
	err := c.bus.Publish(m)
	if err == nil {
		n.last = m.Seq
	} else if m.numbered != nil {
		m.numbered(0)
	}
	return err
}

// send sends a message to one node, with its number.
func (c *clustered) send(to NodeID, m *Message) error {
	if c.parted == nil {
		return c.bus.Send(to, m)
	}
	n := &c.numbers
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.inbox == nil {
		n.inbox = make(map[NodeID]uint64)
	}
	m.After, m.Directed = n.last, n.inbox[to]+1
	err := c.bus.Send(to, m)
	if err == nil {
		n.inbox[to]++
	}
	return err
}

func (n *numbers) forget(id NodeID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.inbox, id)
}
