package engine

import (
	"runtime"
	"runtime/metrics"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
)

// leadership is who waits for the events of a set and handles what they bring, see ReadHot. There is one leader at a time: a
// goroutine that waits, puts the connections that have become readable into the queue, and reads them one after the other, handlers
// that are known to be quick included. What may take longer it leaves to workers.
//
// A handler may be slow all the same. While there is a queue, the watch looks at the leader every lookTime. When it has been at one
// connection for stuckTime, another goroutine becomes the leader: it has the queue, the events, the alarm and the right to wait from
// then on. The former leader keeps the connection that it is at, until it is done with it, and ends.
type leadership struct {
	// Static after construction.
	p     *poller
	set   *epollSet
	alarm *stuckAlarm // is set by the leader while it is at its queue

	// Owned by the leader.
	events   []syscall.EpollEvent
	runnable [1]metrics.Sample // how many goroutines wait for a processor

	// Guarded by p.mu.
	leader  *leader
	queue   []*wsConn // readable, and nobody has looked yet
	next    int       // in queue
	helpers []*helper // that are not stuck, as far as is known
}

// leader is one goroutine that is the leader, or was.
type leader struct {
	turn atomic.Int64 // when it came to the connection that it is at, see monotonic; 0 while it is at none

	reading *wsConn // owned by its goroutine
}

// helper is a worker that empties the queue together with the leader.
type helper struct {
	l    *leadership
	turn time.Time // guarded by p.mu: when the one that it is in began
}

const (
	// stuckTime is how long a turn may take before another goroutine becomes the leader, or gets the place of a helper.
	stuckTime = 3 * lookTime / 4
	// maxReadsHere is how much of one connection is read in the leader's turn, in buffers.
	maxReadsHere = 8
	// queuePerHelper is how many connections have to wait for each goroutine that reads them before another one is woken.
	queuePerHelper = 16
)

func newLeadership(p *poller, set *epollSet) (*leadership, error) {
	alarm, err := newStuckAlarm()
	if err != nil {
		return nil, err
	}
	l := &leadership{p: p, set: set, alarm: alarm, events: make([]syscall.EpollEvent, pollBatchSize)}
	l.runnable[0].Name = "/sched/goroutines/runnable:goroutines"
	p.tasks.start(l.watch)
	return l, nil
}

// watch looks at the leader when the alarm goes off.
func (l *leadership) watch() {
	for l.alarm.wait() {
		l.look()
	}
}

// appointLocked makes a new goroutine the leader.
func (l *leadership) appointLocked() {
	me := new(leader)
	l.leader = me
	l.p.tasks.start(func() { l.run(me) })
}

// run leads until the set has ended or somebody else leads.
func (l *leadership) run(me *leader) {
	over := false
	defer func() {
		if !over { // a handler has called runtime.Goexit
			l.abandon(me)
		}
	}()
	l.alarm.set()
	for l.serveQueue(me) {
		l.alarm.stop()
		l.letOthersBegin()
		n := l.set.wait(l.events)
		if n == 0 {
			l.set.close()
			break
		}
		l.alarm.set()
		l.enqueue(n)
	}
	over = true
}

// letOthersBegin comes before a wait. What the leader has started or woken, and its handlers have, is in the queue of its own P, which it
// does not let go of while it waits: where no other P is idle nobody would fetch it there for 10 ms. Where nothing is queued it goes on:
// runtime.Gosched wakes a thread.
func (l *leadership) letOthersBegin() {
	metrics.Read(l.runnable[:])
	if l.runnable[0].Value.Uint64() > 0 {
		runtime.Gosched()
	}
}

// abandon is the end of a leader amid its work.
func (l *leadership) abandon(me *leader) {
	l.p.mu.Lock()
	if l.leader == me {
		l.appointLocked()
	}
	l.p.mu.Unlock()
	if me.reading != nil {
		go me.reading.readReady()
	}
}

// enqueue takes the events in, and asks for help if they are many.
func (l *leadership) enqueue(n int) {
	l.p.mu.Lock()
	l.queue = l.p.readyLocked(l.set, l.events[:n], l.queue)
	more := l.askHelpLocked()
	l.p.mu.Unlock()
	for _, h := range more {
		l.p.workers.do(h)
	}
}

// askHelpLocked returns who is to begin to help.
func (l *leadership) askHelpLocked() (more []*helper) {
	wanted := (len(l.queue) - l.next) / queuePerHelper
	if wanted == 0 {
		return nil
	}
	now := time.Now()
	l.helpers = slices.DeleteFunc(l.helpers, func(h *helper) bool { return now.Sub(h.turn) >= stuckTime })
	// One processor is the leader's, and one P is there for it to spare.
	for range min(wanted, runtime.GOMAXPROCS(0)-2) - len(l.helpers) {
		more = append(more, &helper{l: l, turn: now})
	}
	l.helpers = append(l.helpers, more...)
	return more
}

// serveQueue handles what is queued. It reports false if somebody else leads meanwhile.
func (l *leadership) serveQueue(me *leader) bool {
	for {
		l.p.mu.Lock()
		leads, c := l.leader == me, (*wsConn)(nil)
		if leads {
			c = l.popLocked()
		}
		l.p.mu.Unlock()
		if c == nil {
			return leads
		}
		l.serve(me, c)
	}
}

func (l *leadership) popLocked() *wsConn {
	if l.next == len(l.queue) {
		l.queue, l.next = l.queue[:0], 0
		return nil
	}
	c := l.queue[l.next]
	l.queue[l.next] = nil
	l.next++
	return c
}

// serve is the leader's turn with one connection.
func (l *leadership) serve(me *leader, c *wsConn) {
	if !c.readable() {
		return
	}
	me.turn.Store(monotonic())
	me.reading = c
	f := c.readHere()
	me.reading = nil
	if f != nil {
		l.runApart(f)
	}
	me.turn.Store(0)
}

// runApart runs what belongs to the application. Server.Close, which f may call, does not wait for it.
func (l *leadership) runApart(f func()) {
	l.p.tasks.done()
	defer l.p.tasks.hold()
	f()
}

// look has somebody else lead if the leader is stuck.
func (l *leadership) look() {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	if turn := l.leader.turn.Load(); l.p.set == l.set && turn != 0 && monotonic()-turn >= int64(stuckTime) {
		l.appointLocked()
	}
}

// run is the helper as a job. It ends when the queue is empty, or when somebody else has its place.
func (h *helper) run() {
	var reading *wsConn
	defer func() { // also when a handler has called runtime.Goexit
		h.leave()
		if reading != nil {
			go reading.readReady()
		}
	}()
	for c := h.take(); c != nil; c = h.take() {
		if !c.readable() {
			continue
		}
		reading = c
		f := c.readHere()
		reading = nil
		if f != nil {
			f()
		}
	}
}

// take begins the helper's turn with the next connection, nil if there is none for it.
func (h *helper) take() *wsConn {
	now := time.Now()
	h.l.p.mu.Lock()
	defer h.l.p.mu.Unlock()
	if !slices.Contains(h.l.helpers, h) {
		return nil
	}
	h.turn = now
	return h.l.popLocked()
}

func (h *helper) leave() {
	h.l.p.mu.Lock()
	defer h.l.p.mu.Unlock()
	if i := slices.Index(h.l.helpers, h); i >= 0 {
		h.l.helpers = slices.Delete(h.l.helpers, i, i+1)
	}
}

// readHere is readReady for a goroutine on which others depend: it does not wait, nor read much. What it leaves goes to a worker;
// what the handlers left to do is returned if it is quick.
func (c *wsConn) readHere() (quick func()) {
	workers := &c.s.srv.workers
	// TLS may have to wait, and so may what has to wait for its turn; the end of a connection runs callbacks.
	if c.raw != nil && !c.probing && !c.poll.hup.Load() && c.s.quick() {
		for range maxReadsHere {
			if c.onReadable(nil) == pauseReading {
				break
			}
			drained, err := c.readSome()
			if err != nil {
				break // the worker finds it again
			}
			if !drained {
				c.runElsewhere()
				continue
			}
			isQuick := c.quick
			f := c.continuation()
			if !c.poll.rest() {
				c.continued = f
				c.runElsewhere()
				continue
			}
			if f != nil && !isQuick {
				workers.do(continued(f))
				return nil
			}
			return f
		}
	}
	workers.do((*readJob)(c))
	return nil
}

// continued is what a handler left to do, as the workers see it.
type continued func()

func (f continued) run() { f() }
