package engine

import (
	"slices"
	"sync"
	"time"
)

const (
	// stallTime is how long a client may owe more than OutboxLimit without taking a byte.
	stallTime = 5 * time.Second
	// maxPooledQueue is the largest queue, in messages, that goes back to the pool.
	maxPooledQueue = 1024
)

var processStart = time.Now()

// monotonic is a time in nanoseconds that corrections of the wall clock do not move.
func monotonic() int64 { return int64(time.Since(processStart)) }

// outbox holds what is to be sent on one session, in order. It is guarded by the session's lock. Idle it is empty and
// holds no memory; the first message sits in the session itself, more go into a pooled queue.
type outbox struct {
	pending messages
	// bytes is charged for pending messages and for those that a writer has taken and the kernel has not.
	bytes int64
	// stall is nil unless the backlog is over the limit.
	stall *stall
}

// stall tells whether a client that owes much takes anything.
type stall struct {
	// since is the time (see monotonic) of the first message that was queued after the last progress; 0 before there is one.
	since int64
	// inFlight is what transport.inFlightLocked said then.
	inFlight int
}

// messages is a short list of messages.
type messages struct {
	first *Message
	rest  *queue
}

type queue struct{ items []*Message }

var queuePool = sync.Pool{New: func() any { return &queue{items: make([]*Message, 0, 16)} }}

func (l *messages) empty() bool { return l.first == nil && l.rest == nil }

func (l *messages) add(m *Message) {
	switch {
	case l.empty():
		l.first = m
	case l.rest == nil:
		l.rest = queuePool.Get().(*queue)
		fallthrough
	default:
		l.rest.items = append(l.rest.items, m)
	}
}

// more returns the messages after the first.
func (l *messages) more() []*Message {
	if l.rest == nil {
		return nil
	}
	return l.rest.items
}

// cost is what the messages are charged in an outbox.
func (l *messages) cost() (n int64) {
	if l.first != nil {
		n = l.first.cost()
	}
	for _, m := range l.more() {
		n += m.cost()
	}
	return n
}

// release forgets the messages, returns their bytes to the server's budget, and reports how many packets there were.
func (l *messages) release(b *budget) (packets int) {
	if l.first != nil {
		packets = l.first.packets()
		b.unqueued(l.first)
		l.first = nil
	}
	if l.rest == nil {
		return packets
	}
	for _, m := range l.rest.items {
		packets += m.packets()
		b.unqueued(m)
	}
	if cap(l.rest.items) <= maxPooledQueue {
		clear(l.rest.items)
		l.rest.items = l.rest.items[:0]
		queuePool.Put(l.rest)
	}
	l.rest = nil
	return packets
}

func (o *outbox) empty() bool { return o.pending.empty() }

// take moves the pending messages to the caller. They stay charged until they are settled.
func (o *outbox) take() messages {
	taken := o.pending
	o.pending = messages{}
	return taken
}

// cut moves the first messages to the caller, as many as have most packets together, but at least one; 0 means all.
func (l *messages) cut(most int) (head messages) {
	if most == 0 || l.first == nil {
		return l.takeAll()
	}
	packets, rest := l.first.packets(), l.more()
	n := 0
	for n < len(rest) && packets+rest[n].packets() <= most {
		packets += rest[n].packets()
		n++
	}
	if n == len(rest) {
		return l.takeAll()
	}
	head.first = l.first
	for _, m := range rest[:n] {
		head.add(m)
	}
	l.first = rest[n]
	clear(rest[:n+1])
	l.rest.items = rest[n+1:]
	return head
}

func (l *messages) takeAll() (all messages) {
	all, *l = *l, messages{}
	return all
}

// takeAll also drops every charge.
func (o *outbox) takeAll() messages {
	o.bytes, o.stall = 0, nil
	return o.take()
}

// settle ends the charge for bytes that have been handed on.
func (o *outbox) settle(bytes, limit int64) {
	o.bytes = max(0, o.bytes-bytes)
	o.progress(limit)
}

// progress notes that bytes have been accepted.
func (o *outbox) progress(limit int64) {
	switch {
	case o.bytes <= limit:
		o.stall = nil
	case o.stall != nil:
		o.stall.since = 0
	}
}

// noteProgress follows each chunk of a longer write. It reports false when the session has been cut off, so that the rest
// is in vain.
func (s *Session) noteProgress() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.progress(s.srv.cfg.OutboxLimit)
	return s.state != stateClosed || !s.ending.abrupt
}

// slowLocked reports whether the client owes too much for another message: more than OutboxMax, or more than OutboxLimit of
// which it takes nothing. Time is read only beyond the limit.
func (s *Session) slowLocked() bool {
	o, cfg := &s.out, s.srv.cfg
	switch {
	case o.bytes <= cfg.OutboxLimit:
		return false
	case o.bytes > cfg.OutboxMax:
		return true
	case o.stall.since == 0:
		return false
	}
	now := monotonic()
	if now-o.stall.since < int64(stallTime) {
		return false
	}
	// What the kernel has accepted says little: it may hold megabytes, and takes more only in large steps. What it has brought to
	// the peer meanwhile shows that a slow client still reads.
	inFlight := s.transport.inFlightLocked()
	if inFlight >= o.stall.inFlight {
		return true
	}
	*o.stall = stall{now, inFlight}
	return false
}

// queueLocked appends a message and charges for it.
func (s *Session) queueLocked(m *Message) {
	o := &s.out
	o.pending.add(m)
	o.bytes += m.cost()
	if o.bytes <= s.srv.cfg.OutboxLimit {
		return
	}
	if o.stall == nil {
		o.stall = &stall{}
	}
	if o.stall.since == 0 {
		*o.stall = stall{monotonic(), s.transport.inFlightLocked()}
	}
}

// Queued returns the bytes that wait for the client, including 64 for each packet.
func (s *Session) Queued() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.bytes
}

// Send sends m after everything that was sent before. It never blocks: on an idle websocket it writes at once what the
// kernel takes without waiting, otherwise m is queued. It returns ErrClosed on a session that is closing or closed, and
// ErrSlowConsumer when the backlog ended the session.
func (s *Session) Send(m *Message) error {
	s.mu.Lock()
	if err := s.enqueueLocked(m); err != nil {
		s.mu.Unlock()
		return s.refused(err)
	}
	t := s.transport
	flush := t.wakeLocked()
	s.mu.Unlock()
	if flush {
		flushNow(t)
	}
	return nil
}

// flushNow is transport.flush for a single one.
func flushNow(t transport) {
	if b := t.flush(batchPool.Get().(*batch)); b != nil {
		b.free()
	}
}

// SendQueued is like Send, but the write is left to a worker that takes everything that has gathered by then. It is the
// choice for sending one message to many sessions.
func (s *Session) SendQueued(m *Message) error {
	s.mu.Lock()
	if err := s.enqueueLocked(m); err != nil {
		s.mu.Unlock()
		return s.refused(err)
	}
	s.scheduleLocked()
	return nil
}

// SendVolatile sends m only if the session is writable: nothing queued, no write under way and, over polling, a poll
// parked. Otherwise it drops m and reports false.
func (s *Session) SendVolatile(m *Message) bool {
	s.mu.Lock()
	if s.state != stateOpen || !s.out.empty() || !s.transport.readyLocked() || s.enqueueLocked(m) != nil {
		s.mu.Unlock()
		s.srv.count.drops[dropVolatile].Add(uint64(m.packets()))
		return false
	}
	s.scheduleLocked()
	return true
}

// sendQueuedLocked sends an Engine.IO packet and unlocks.
func (s *Session) sendQueuedLocked(m *Message) {
	if err := s.enqueueLocked(m); err != nil {
		s.mu.Unlock()
		_ = s.refused(err)
		return
	}
	s.scheduleLocked()
}

// scheduleLocked puts the session on its shard's dirty list, unless a writer will find the messages anyway, and
// unlocks.
func (s *Session) scheduleLocked() {
	push := s.transport.wakeLocked() && !s.onDirty
	if push {
		s.onDirty = true
	}
	s.mu.Unlock()
	if push {
		s.shard.push(s)
	}
}

func (s *Session) enqueueLocked(m *Message) error {
	if s.state != stateOpen {
		return ErrClosed
	}
	if s.slowLocked() {
		return ErrSlowConsumer
	}
	s.queueLocked(m)
	if s.srv.queued.queued(m, s.srv.cfg.OutboxTotal) {
		s.srv.shedLoad()
	}
	return nil
}

// refused ends the session if err is its backlog.
func (s *Session) refused(err error) error {
	if err == ErrSlowConsumer {
		s.srv.count.limits[limitSlowConsumer].Add(1)
		s.finish(&ending{reason: ReasonTransportError, err: err, abrupt: true, quiet: true, drop: dropSlowConsumer})
	}
	return err
}

// shedLoad brings the server back under its budget on a goroutine of its own, at most one at a time.
func (srv *Server) shedLoad() {
	if !srv.shedding.CompareAndSwap(false, true) {
		return
	}
	srv.count.limits[limitOutboxTotal].Add(1)
	srv.tasks.start(func() {
		defer srv.shedding.Store(false)
		srv.closeLongest()
	})
}

// closeLongest ends the sessions with the longest backlogs until the server is a tenth under its budget.
func (srv *Server) closeLongest() {
	type backlog struct {
		s     *Session
		bytes int64
	}
	var all []backlog
	for _, s := range srv.Sessions() {
		if n := s.Queued(); n > 0 {
			all = append(all, backlog{s, n})
		}
	}
	slices.SortFunc(all, func(a, b backlog) int { return int(b.bytes - a.bytes) })
	target := srv.cfg.OutboxTotal / 10 * 9
	// What a writer holds is returned to the budget only when its write has failed, hence the sum.
	excess := srv.queued.bytes.Load() - target
	for _, b := range all {
		if excess <= 0 || srv.queued.bytes.Load() <= target {
			return
		}
		b.s.finish(&ending{reason: ReasonTransportError, err: ErrOutboxTotal, abrupt: true, quiet: true, drop: dropOutboxTotal})
		excess -= b.bytes
	}
}

// shard is one dirty list: sessions with messages that a worker is to write. The worker exists while the list is not
// empty.
type shard struct {
	srv     *Server
	traffic traffic

	mu sync.Mutex
	// Guarded by mu.
	dirty   []*Session
	spare   []*Session
	running bool
}

func (sh *shard) push(s *Session) {
	sh.mu.Lock()
	sh.dirty = append(sh.dirty, s)
	start := !sh.running
	sh.running = true
	sh.mu.Unlock()
	if start {
		sh.srv.tasks.start(sh.work)
	}
}

func (sh *shard) work() {
	b := batchPool.Get().(*batch)
	defer func() { b.free() }()
	for {
		sh.mu.Lock()
		list := sh.dirty
		if len(list) == 0 {
			sh.running = false
			sh.mu.Unlock()
			return
		}
		sh.dirty, sh.spare = sh.spare[:0], nil
		sh.mu.Unlock()
		for _, s := range list {
			if b = s.flushDirty(b); b == nil {
				b = batchPool.Get().(*batch)
			}
		}
		clear(list)
		sh.mu.Lock()
		sh.spare = list[:0]
		sh.mu.Unlock()
	}
}

// flushDirty is transport.flush for a session from the dirty list.
func (s *Session) flushDirty(b *batch) *batch {
	s.mu.Lock()
	s.onDirty = false
	t := s.transport
	s.mu.Unlock()
	return t.flush(b)
}
