package adapter

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
)

// How long this node's sockets wait for the place of a broadcast in the log; they get it without offset then, and once more if they
// come back later and it is in the log after all.
const (
	placePatience = time.Second     // while nothing comes from the log, unless the namespace is an ordered one
	maxPlace      = 2 * time.Second // in any case
)

// clusterHistory is the History of a cluster whose bus has a log, or the order alone, see ClusterOptions.Ordered. What is broadcast on
// this node is delivered here when it comes back from the log, at its place among what other nodes have broadcast: so the offsets that a
// client sees only grow, and none is left out.
//
// What this node sends past the log has to wait for what it has broadcast before. Both wait in pending; turns has everything delivered
// one after the other.
type clusterHistory struct {
	// Static after construction.
	c        *clustered
	patience time.Duration // while nothing comes from the log
	turns    turns

	log    atomic.Pointer[Log]       // nil unless events are kept and get their offsets
	recent atomic.Pointer[recentLog] // not nil where log is not

	strangers strangers // those who write past the log
	reads     missedReads

	delivered atomic.Pointer[string] // offset of the last message that was delivered; written in turn
	stood     atomic.Pointer[string] // the position when it was last asked for and nothing was being delivered
	away      atomic.Bool            // a broadcast did not come back in time, and nothing has come since: nobody waits

	mu sync.Mutex
	// Guarded by mu.
	arrived time.Time      // when something last came from the log
	pending []*pendingTurn // in the order in which it is to be delivered
	timer   *time.Timer    // runs while something is pending; nil before the first
	early   early          // what was delivered here before it was in the log
}

// pendingTurn is something that this node's sockets are to get.
type pendingTurn struct {
	seq     uint64 // of a broadcast that is to come from the log; 0 if this waits only for what stands before it
	since   time.Time
	unsent  bool // it was to come from the log, where it will not be
	deliver func(offset string, place *Place)
}

// Keep implements Historian.
func (c *clustered) Keep(opts HistoryOptions) (History, SessionStore, error) {
	r, ok := c.bus.(Recorder)
	if !ok {
		return nil, nil, errors.ErrUnsupported
	}
	log, sessions, err := r.Record(opts)
	if err != nil {
		return nil, nil, err
	}
	if !c.inOrder(placePatience) {
		return nil, nil, errors.ErrUnsupported
	}
	h := c.history.Load()
	h.keep(log, opts.Retain)
	if exclusive, ok := log.(ExclusiveLog); ok {
		h.strangers.begin(c, exclusive)
		c.running.Go(h.strangers.watch)
	}
	return h, sessions, nil
}

// keep has events get their offsets in a log, and some of it remembered.
func (h *clusterHistory) keep(log Log, retain time.Duration) {
	h.recent.Store(newRecentLog(log, retain))
	h.log.Store(&log)
}

// inOrder has what is broadcast delivered at its place in the bus's log. It returns false if the bus has none.
func (c *clustered) inOrder(patience time.Duration) bool {
	s, ok := c.bus.(Sequencer)
	if !ok {
		return false
	}
	if c.history.Load() == nil {
		s.InOrder()
		if p, ok := c.bus.(Parted); ok && p.Parted() { // it may be so from now on
			c.parted = p
		}
		if c.parted == nil {
			return false
		}
		h := &clusterHistory{c: c, patience: patience}
		h.reads.h = h
		c.history.Store(h)
	}
	return true
}

// deliver delivers a broadcast, with its offset if it is kept, or the place where it will be.
func (c *clustered) deliver(p *parser.Packet, sel Selection, flags Flags, offset string, place *Place) {
	h := c.history.Load()
	flags.Place = place
	if h == nil || offset == "" || !Kept(p, flags) || h.log.Load() == nil {
		c.local.Deliver(p, sel, flags)
		return
	}
	flags.Offset = offset
	c.local.Deliver(withOffset(p, offset), sel, flags)
	h.delivered.Store(&offset)
}

// broadcast publishes a broadcast and has it delivered here in its turn. One that is kept goes into the log, whatever node it is for.
func (h *clusterHistory) broadcast(m *Message) error {
	p, sel, flags := m.Packet, m.Selection, m.Flags
	deliver := func(offset string, place *Place) { h.c.deliver(p, sel, flags, offset, place) }
	if !Kept(p, flags) {
		here, err := h.c.tell(flags, m)
		if here {
			h.Turn(func() { deliver("", nil) })
		}
		return err
	}
	t := &pendingTurn{since: time.Now(), deliver: deliver}
	var number uint64
	early := h.away.Load()
	var place *Place
	if early {
		place = new(Place)
	}
	m.numbered = func(seq uint64) {
		switch {
		case seq == 0:
			h.unsent(number)
		case early:
			h.soon(seq, place)
		default:
			h.number(t, seq)
		}
		number = seq
	}
	h.watchSending(m, func() { h.unsent(number) })
	err := h.c.publish(m)
	if err != nil { // it will not be in the log
		h.severed()
	}
	if early {
		h.Turn(func() { deliver("", place) })
	}
	return err
}

// watchSending calls unsent, and has the log broken, if it turns out that a message, which is delivered here in any case, may not be in it.
// A log that a message was sent past has seen to its break itself.
func (h *clusterHistory) watchSending(m *Message, unsent func()) {
	tell := m.Sent
	m.Sent = func(r Receipt) {
		if r.Err != nil || r.Past {
			unsent()
		}
		if r.Err != nil {
			h.severed()
		}
		if tell != nil {
			tell(r)
		}
	}
}

// breaker returns the log if it can be told that it is not complete, else nil.
func (h *clusterHistory) breaker() LogBreaker {
	if log := h.log.Load(); log != nil {
		b, _ := (*log).(LogBreaker)
		return b
	}
	return nil
}

// severed tells the log that something was delivered that is not in it.
func (h *clusterHistory) severed() {
	if b := h.breaker(); b != nil {
		b.Break()
	}
}

// soon notes that a broadcast is delivered here before it is in the log.
func (h *clusterHistory) soon(seq uint64, place *Place) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.early.note(seq, place)
}

// unsent notes that a broadcast is not in the log: nobody waits for it any more. It does not block.
func (h *clusterHistory) unsent(seq uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.wakeLocked()
	for _, t := range h.pending {
		if t.seq == seq { // it is missing from when it is delivered
			t.seq, t.unsent = 0, true
			h.timer.Reset(0) // who calls this is not to deliver it
			return
		}
	}
	h.early.never(seq)
}

// number makes something wait for the log.
func (h *clusterHistory) number(t *pendingTurn, seq uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.seq = seq
	h.pending = append(h.pending, t)
	switch {
	case len(h.pending) > 1:
	case h.timer == nil:
		h.timer = time.AfterFunc(h.patience, h.late)
	default:
		h.timer.Reset(h.patience)
	}
}

// Turn implements History.
func (h *clusterHistory) Turn(f func()) {
	h.mu.Lock()
	if len(h.pending) > 0 {
		h.pending = append(h.pending, &pendingTurn{deliver: func(string, *Place) { f() }})
		h.mu.Unlock()
		return
	}
	h.turns.add(f) // with the lock held, so that nothing that is pending a moment later overtakes it
	h.mu.Unlock()
	h.turns.run()
	h.turns.yield()
}

// release delivers what is pending, from the front up to the first that awaits the log and is not due. m is what came from the log,
// nil if nothing did: its offset is the place of what has its number. What is due without that will not come any more.
func (h *clusterHistory) release(due func(*pendingTurn) bool, m *Message) {
	missing := false // something is delivered that is not in the log, perhaps behind m
	h.mu.Lock()
	for len(h.pending) > 0 {
		t, offset := h.pending[0], ""
		var place *Place
		if t.seq != 0 && !due(t) {
			break
		}
		missing = missing || t.unsent
		if m != nil && t.seq != 0 && t.seq == m.Seq {
			offset = m.Offset
		} else if t.seq != 0 {
			place = new(Place)
			h.early.note(t.seq, place)
		}
		h.turns.add(func() { t.deliver(offset, place) })
		h.pending[0] = nil
		h.pending = h.pending[1:]
	}
	if len(h.pending) == 0 {
		h.pending = nil
		if h.timer != nil {
			h.timer.Stop()
		}
	}
	if m != nil {
		h.early.arrived(m)
	}
	h.early.missing = h.early.missing || missing
	h.wakeLocked()
	h.mu.Unlock()
	h.turns.run()
}

// late runs when the first that is pending may have waited too long.
func (h *clusterHistory) late() {
	h.release(func(t *pendingTurn) bool {
		over := time.Until(h.dueLocked(t)) <= 0
		if over {
			h.away.Store(true)
		}
		return over
	}, nil)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.pending) > 0 {
		h.timer.Reset(max(time.Until(h.dueLocked(h.pending[0])), time.Millisecond))
	}
}

// dueLocked tells how long something waits for the log.
func (h *clusterHistory) dueLocked(t *pendingTurn) time.Time {
	due := t.since
	if h.arrived.After(due) {
		due = h.arrived
	}
	due = due.Add(h.patience)
	if last := t.since.Add(maxPlace); due.After(last) {
		due = last
	}
	return due
}

// arrive takes a message that is in the log. The bus calls it for one at a time, in the log's order.
func (h *clusterHistory) arrive(m *Message) {
	h.away.Store(false)
	h.mu.Lock()
	h.arrived = time.Now()
	at := h.arrived
	own := h.c.self(m.From)
	if !own {
		h.early.passed(m.Offset)
	}
	h.mu.Unlock()
	if recent := h.recent.Load(); recent != nil && recent.add(m, at) {
		defer recent.passed.Store(&m.Offset)
	}
	if own {
		h.release(func(t *pendingTurn) bool { return t.seq <= m.Seq }, m)
		return
	}
	h.c.order.handle(m)
}

// settled reports whether nothing waits to be done on this node: who is in which room may change until then.
func (h *clusterHistory) settled() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.pending) == 0 && h.turns.idle()
}

// Position implements History.
func (h *clusterHistory) Position() string {
	recent := h.recent.Load()
	passed, read := recent.passed.Load(), recent.log.Read()
	if h.turns.idle() { // everything up to there has been delivered
		offset := recent.position(passed, read)
		h.stood.Store(&offset)
		return offset
	}
	best := ""
	for _, offset := range []*string{h.stood.Load(), h.delivered.Load()} {
		if offset != nil && h.Compare(*offset, best) > 0 {
			best = *offset
		}
	}
	return best
}

// LogReadings tells how often the log was read for clients that have come back, for tests.
func (h *clusterHistory) LogReadings() uint64 { return h.reads.readings.Load() }

// Compare implements History.
func (h *clusterHistory) Compare(a, b string) int { return (*h.log.Load()).Compare(a, b) }

// Missed implements History.
func (h *clusterHistory) Missed(ctx context.Context, offset string, rooms []string, limits HistoryLimits) (Missed, error) {
	if err := h.placed(ctx, offset); err != nil {
		return Missed{}, err
	}
	missed, err := h.reads.read(ctx, offset, rooms, limits)
	if err == nil {
		err = h.allPlaced(ctx) // what the socket gets without offset meanwhile, and has missed, is known by its place then
	}
	if err != nil {
		return Missed{}, err
	}
	return missed, nil
}

// close has delivered what is pending.
func (h *clusterHistory) close() {
	h.release(func(*pendingTurn) bool { return true }, nil)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.timer != nil {
		h.timer.Stop()
	}
}
