package server

import (
	"slices"
	"sync"

	"github.com/sockeye-io/sockeye/server/parser"
)

// inbox holds what a socket's handlers have still to do. It exists only while there is something: an idle socket has
// neither inbox nor goroutine. Guarded by Socket.mu.
type inbox struct {
	items []task
	head  int

	workers   int  // goroutines that run, or are about to run, Socket.work
	exclusive bool // a lifecycle task is running; nothing may run beside it
}

// task is one thing to do: an event when packet is set, or else a lifecycle step.
type task struct {
	packet *parser.Packet
	step   step
	bytes  int32 // charged to the client
}

type step uint8

const (
	stepEvent step = iota
	stepConnection
	stepDisconnect
)

// taskOverhead is what a task counts besides its payload, so that tiny events are bounded too.
const taskOverhead = 160

var inboxes = sync.Pool{New: func() any { return new(inbox) }}

func eventTask(p *parser.Packet) task {
	return task{packet: p, bytes: int32(min(taskOverhead+payloadSize(&p.Payload), 1<<30))}
}

func payloadSize(p *parser.Payload) int {
	n := len(p.JSON)
	for _, a := range p.Attachments {
		n += len(a)
	}
	return n
}

// onEvent queues an event on the reading side.
func (s *Socket) onEvent(p *parser.Packet) {
	if len(s.nsp.server.hooks.beforeEvent) > 0 && !s.mayEmit(p) {
		p.Recycle()
		return
	}
	if s.observed() {
		s.observeEvent(ObservedReceived, p)
	}
	t := eventTask(p)
	if !s.client.charge(int64(t.bytes)) {
		return
	}
	quick := s.quick(p)
	start := s.put(t)
	s.client.checkInboxes()
	switch {
	case start && quick:
		s.client.continueQuickly(s.workQuickly)
	case start:
		s.client.continueWith(s.work)
	}
}

// enqueue adds a task and makes sure that a worker runs.
func (s *Socket) enqueue(t task) {
	if s.put(t) {
		s.nsp.server.spawn(s.work)
	}
}

// put adds a task and reports whether the caller must start a worker.
func (s *Socket) put(t task) (start bool) {
	s.mu.Lock()
	s.putLocked(t)
	start = s.staffLocked()
	s.mu.Unlock()
	return start
}

// work is a worker: it runs tasks until there are none left.
func (s *Socket) work() { s.serve(false) }

func (s *Socket) putLocked(t task) {
	if s.inbox == nil {
		s.inbox = inboxes.Get().(*inbox)
	}
	in := s.inbox
	if in.head > 64 && 2*in.head > len(in.items) {
		n := copy(in.items, in.items[in.head:])
		clear(in.items[n:])
		in.items, in.head = in.items[:n], 0
	}
	in.items = append(in.items, t)
}

// staffLocked reserves a place for one more worker if there is work for it.
func (s *Socket) staffLocked() bool {
	in := s.inbox
	if in == nil || in.exclusive || in.head == len(in.items) || in.workers >= s.nsp.concurrency() {
		return false
	}
	if in.workers > 0 && in.items[in.head].step != stepEvent {
		return false // the last worker to finish will do it
	}
	in.workers++
	return true
}

// serve runs tasks until there are none left. lifecycle says that the task before was a lifecycle step. When a callback
// ends the goroutine by runtime.Goexit another one takes its place.
func (s *Socket) serve(lifecycle bool) {
	running := false
	defer func() {
		if running {
			s.nsp.server.spawn(func() { s.serve(lifecycle) })
		}
	}()
	for {
		t, ok, more := s.next(lifecycle)
		if more {
			s.nsp.server.spawn(s.work)
		}
		if !ok {
			return
		}
		lifecycle, running = t.step != stepEvent, true
		s.run(t)
		running = false
	}
}

// next takes the next task for a worker; ok is false when the worker must end. lifecycle says that the worker's
// last task was a lifecycle step. more says that another worker is to be started.
func (s *Socket) next(lifecycle bool) (t task, ok, more bool) {
	s.mu.Lock()
	if lifecycle {
		s.inbox.exclusive = false
	}
	t, ok, more = s.takeTaskLocked()
	s.mu.Unlock()
	s.client.discharge(int64(t.bytes))
	return t, ok, more
}

// takeTaskLocked is next for a worker whose last task is over.
func (s *Socket) takeTaskLocked() (t task, ok, more bool) {
	in := s.inbox
	if in.head == len(in.items) {
		in.workers--
		if in.workers == 0 {
			s.inbox = nil
			in.reset()
			inboxes.Put(in)
		}
		return task{}, false, false
	}
	t = in.items[in.head]
	if t.step != stepEvent && in.workers > 1 {
		in.workers--
		return task{}, false, false
	}
	in.items[in.head] = task{}
	in.head++
	if in.head == len(in.items) {
		in.items, in.head = in.items[:0], 0
	}
	in.exclusive = t.step != stepEvent
	return t, true, s.staffLocked()
}

// dropEventsLocked removes the events that have not been started and returns their bytes.
func (s *Socket) dropEventsLocked() (freed int64) {
	in := s.inbox
	if in == nil {
		return 0
	}
	kept := in.items[:in.head]
	for _, t := range in.items[in.head:] {
		if t.step == stepEvent {
			freed += int64(t.bytes)
		} else {
			kept = append(kept, t)
		}
	}
	clear(in.items[len(kept):])
	in.items = kept
	return freed
}

func (in *inbox) reset() {
	items := in.items
	if cap(items) > 64 {
		items = nil
	}
	*in = inbox{items: items[:0]}
}

// charge accounts for n bytes of an event that goes to an inbox. It reports false if there is no room for it; the connection
// ends then.
func (c *client) charge(n int64) bool {
	if !c.session.HoldInput(n) {
		return false
	}
	c.inboxes.Add(n)
	return true
}

// checkInboxes follows when the event is in its inbox.
func (c *client) checkInboxes() {
	if !c.paused.Load() && c.inboxes.Load() > c.inboxLimit() {
		c.regulate()
	}
}

// discharge ends the charge of n bytes.
func (c *client) discharge(n int64) {
	if n == 0 {
		return
	}
	c.session.ReleaseInput(n)
	c.inboxes.Add(-n)
	if c.paused.Load() {
		c.regulate()
	}
}

// inboxLimit is what all inboxes of the client may hold at the moment. When the server's budget for input runs short, a
// client is paused before its connection would have to end.
func (c *client) inboxLimit() int64 {
	return min(c.server.opts.InboxLimit, c.session.InputShare()/2)
}

// regulate pauses reading when the inboxes hold more than their limit and resumes it when they hold half of it. While
// reading is paused no acknowledgement can arrive, so that those who wait for one are told.
func (c *client) regulate() {
	c.mu.Lock()
	before := c.paused.Load()
	after := before
	for {
		limit := c.inboxLimit()
		if after {
			limit /= 2
		}
		want := c.inboxes.Load() > limit
		if want == after {
			break
		}
		// What changes the inboxes looks at paused afterwards, so paused must be set before a last look at them.
		c.paused.Store(want)
		after = want
	}
	var sockets []*Socket
	if after && !before {
		sockets = slices.Clone(c.sockets)
		c.server.inboxPauses.Add(1)
	}
	run := before != after && !c.flowing
	c.flowing = c.flowing || run
	c.mu.Unlock()
	for _, s := range sockets {
		s.failAcks(ErrInboxFull)
	}
	if run {
		c.flow(before)
	}
}

// flow brings the session's reading in line with paused. One goroutine does so at a time and does it until it is so,
// because calls of Pause and Resume must not overtake each other.
func (c *client) flow(is bool) {
	for {
		want := c.paused.Load()
		if want != is {
			if want {
				c.session.Pause()
			} else {
				c.session.Resume()
			}
			is = want
		}
		c.mu.Lock()
		if is == c.paused.Load() {
			c.flowing = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
	}
}
