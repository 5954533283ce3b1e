package engine

import (
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
)

// leadership is who waits for the events of a set and handles what they bring, see ReadHot. There is one leader at a time: a
// goroutine that waits, puts the connections that have become readable into the queue, and reads them one after the other, handlers
// that are known to be quick included. What may take longer it leaves to workers.
//
// A handler may be slow all the same. When the leader has been at one connection for stuckTime, another goroutine becomes the
// leader: it has the queue, the events and the right to wait from then on. The former leader keeps the connection that it is at,
// until it is done with it, and ends.
type leadership struct {
	// Static after construction.
	p     *poller
	set   *epollSet
	stuck *time.Timer // runs from the beginning of each turn

	// Owned by the leader.
	events []syscall.EpollEvent

	// Guarded by p.mu.
	leader  *leader
	queue   []*wsConn // readable, and nobody has looked yet
	next    int       // in queue
	helpers []*helper // that are not stuck, as far as is known
}

// leader is one goroutine that is the leader, or was.
type leader struct {
	turns atomic.Uint32 // odd while it is at a connection

	// Owned by its goroutine.
	reading    *wsConn
	handedOver bool // something to another goroutine, since the last wait
}

// helper is a worker that empties the queue together with the leader.
type helper struct {
	l    *leadership
	turn time.Time // guarded by p.mu: when the one that it is in began
}

const (
	// stuckTime is how long a turn may take before another goroutine becomes the leader, or gets the place of a helper.
	stuckTime = 10 * time.Millisecond
	// maxReadsHere is how much of one connection is read in the leader's turn, in buffers.
	maxReadsHere = 8
	// queuePerHelper is how many connections have to wait for each goroutine that reads them before another one is woken.
	queuePerHelper = 16
)

func newLeadership(p *poller, set *epollSet) *leadership {
	l := &leadership{p: p, set: set, events: make([]syscall.EpollEvent, pollBatchSize)}
	l.stuck = time.AfterFunc(stuckTime, l.look)
	return l
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
	for l.serveQueue(me) {
		me.letOthersBegin()
		n := l.set.wait(l.events)
		if n == 0 {
			l.set.close()
			break
		}
		l.enqueue(n)
	}
	over = true
}

// letOthersBegin comes before a wait. What the leader has handed over is in the queue of its own P, which it does not let go of while
// it waits: where no other P is idle nobody would fetch it there for 10 ms.
func (me *leader) letOthersBegin() {
	if me.handedOver {
		me.handedOver = false
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
	me.turns.Add(1)
	l.stuck.Reset(stuckTime) // which is cheap: the runtime moves timers lazily
	me.reading = c
	f, handedOver := c.readHere()
	me.reading = nil
	me.handedOver = me.handedOver || handedOver
	if f != nil {
		l.runApart(f)
	}
	me.turns.Add(1)
}

// runApart runs what belongs to the application. Server.Close, which f may call, does not wait for it.
func (l *leadership) runApart(f func()) {
	l.p.tasks.done()
	defer l.p.tasks.hold()
	f()
}

// look follows when no turn has begun for stuckTime: either nothing arrives, or the leader is stuck in the last one.
func (l *leadership) look() {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	if l.p.set == l.set && l.leader.turns.Load()%2 == 1 {
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
		f, _ := c.readHere()
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
// what the handlers left to do is returned if it is quick. handedOver says that another goroutine was started or woken.
func (c *wsConn) readHere() (quick func(), handedOver bool) {
	workers := &c.s.srv.workers
	// TLS may have to wait, and so may what has to wait for its turn; the end of a connection runs callbacks.
	if c.raw != nil && !c.probing && !c.poll.hup.Load() {
		for range maxReadsHere {
			if c.onReadable(nil) == pauseReading {
				break
			}
			drained, err := c.readSome()
			if err != nil {
				break // the worker finds it again
			}
			if !drained {
				handedOver = c.runElsewhere() || handedOver
				continue
			}
			isQuick := c.quick
			f := c.continuation()
			if !c.poll.rest() {
				c.continued = f
				handedOver = c.runElsewhere() || handedOver
				continue
			}
			if f != nil && !isQuick {
				workers.do(continued(f))
				return nil, true
			}
			return f, handedOver
		}
	}
	workers.do((*readJob)(c))
	return nil, true
}

// continued is what a handler left to do, as the workers see it.
type continued func()

func (f continued) run() { f() }
