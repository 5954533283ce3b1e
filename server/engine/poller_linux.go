package engine

import (
	"net"
	"sync"
	"syscall"
)

// poller watches the websocket connections of a server that wait for their next bytes, so that an idle one has no
// goroutine and no buffer. A connection that becomes readable is read by a worker (wsConn.readReady), or by the goroutine that
// waits for all of them (leader_linux.go).
//
// Connections are registered once, edge-triggered. That a readable connection has one reader at a time and that no edge is lost is
// the work of pollState.
type poller struct {
	// Static after construction.
	tasks   *tasks
	workers *workers
	hot     bool // see ReadHot

	mu sync.Mutex
	// Guarded by mu.
	set   *epollSet // nil while there are no connections
	slots []pollSlot
	free  []int32 // unused slots
	n     int     // connections
}

// epollSet is one epoll descriptor. It exists while there are connections.
type epollSet struct {
	waiter
	lead *leadership // nil: what becomes readable is given to workers
}

// waiter waits for the events of an epoll descriptor, on one goroutine at a time.
type waiter interface {
	// descriptor is the epoll descriptor.
	descriptor() int
	// wait waits for the next events and returns how many there are; 0 after end. Those with a negative slot are no connection's.
	wait(events []syscall.EpollEvent) int
	// end makes wait return 0, now or when it is called next.
	end()
	// close follows when nobody waits any more.
	close()
}

// pollSlot is where an event finds its connection. The generation keeps an event that comes late away from the connection
// that has the slot by then.
type pollSlot struct {
	conn       *wsConn
	generation int32
}

const (
	pollEvents    = syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLET&0xffffffff
	pollHups      = syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR
	pollBatchSize = 128
)

func newPoller(t *tasks, w *workers, hot bool) *poller {
	return &poller{tasks: t, workers: w, hot: hot}
}

// adopt returns what conn is read, written and closed by from now on; conn itself where it can be no descriptor of our own.
func (p *poller) adopt(conn net.Conn) (link, syscall.RawConn) {
	if p != nil {
		if d := ownDescriptor(conn); d != nil {
			return d, d.raw()
		}
	}
	return conn, rawConn(conn)
}

// add watches c, whose state is pollReading. It reports false, having changed nothing, when that cannot be done.
func (p *poller) add(c *wsConn) bool {
	raw := c.raw
	if raw == nil {
		raw = pollable(c.conn).raw
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set == nil && !p.openLocked() {
		return false
	}
	if len(p.free) == 0 {
		p.slots = append(p.slots, pollSlot{})
		p.free = append(p.free, int32(len(p.slots)-1))
	}
	slot := p.free[len(p.free)-1]
	event := syscall.EpollEvent{Events: pollEvents, Fd: slot, Pad: p.slots[slot].generation}
	added := syscall.EBADF
	err := raw.Control(func(fd uintptr) {
		added, _ = syscall.EpollCtl(p.set.descriptor(), syscall.EPOLL_CTL_ADD, int(fd), &event).(syscall.Errno)
	})
	if err != nil || added != 0 {
		p.closeIfEmptyLocked()
		return false
	}
	p.free = p.free[:len(p.free)-1]
	p.slots[slot].conn = c
	c.poll.slot = slot
	p.n++
	return true
}

// remove forgets c. Its descriptor leaves the epoll set when it is closed, which follows.
func (p *poller) remove(c *wsConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	slot := &p.slots[c.poll.slot]
	slot.conn = nil
	slot.generation++
	p.free = append(p.free, c.poll.slot)
	p.n--
	p.closeIfEmptyLocked()
}

func (p *poller) openLocked() bool {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	open := newParkedWait
	if p.hot {
		open = newHotWait
	}
	w, err := open(fd)
	if err != nil {
		_ = syscall.Close(fd)
		return false
	}
	set := &epollSet{waiter: w}
	if p.hot {
		if set.lead, err = newLeadership(p, set); err != nil {
			w.close()
			return false
		}
		p.set = set
		set.lead.appointLocked()
		return true
	}
	p.set = set
	p.tasks.start(func() { p.run(set) })
	return true
}

// closeIfEmptyLocked ends the goroutine of the set with the last connection, and gives back what they needed.
func (p *poller) closeIfEmptyLocked() {
	if p.n > 0 {
		return
	}
	if p.set.lead != nil {
		p.set.lead.alarm.close()
	}
	p.set.end()
	p.set, p.slots, p.free = nil, nil, nil
}

// run waits for events until the set is closed, and gives them to workers.
func (p *poller) run(set *epollSet) {
	defer set.close()
	events := make([]syscall.EpollEvent, pollBatchSize)
	ready := make([]*wsConn, 0, pollBatchSize)
	for n := set.wait(events); n > 0; n = set.wait(events) {
		ready = p.ready(set, events[:n], ready[:0])
		for _, c := range ready {
			if c.readable() {
				p.workers.do((*readJob)(c))
			}
		}
		clear(ready)
	}
}

// readable follows an event. It reports whether the caller must see to it that the connection is read.
func (c *wsConn) readable() bool {
	if c.poll.hup.Load() && c.s.onBreak() {
		c.s.srv.tasks.start(c.s.endBreak)
	}
	return c.poll.wake()
}

// ready appends the connections that the events are for.
func (p *poller) ready(set *epollSet, events []syscall.EpollEvent, list []*wsConn) []*wsConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.readyLocked(set, events, list)
}

func (p *poller) readyLocked(set *epollSet, events []syscall.EpollEvent, list []*wsConn) []*wsConn {
	if p.set != set {
		return list
	}
	for i := range events {
		e := &events[i]
		if e.Fd < 0 { // not a connection's
			continue
		}
		slot := &p.slots[e.Fd]
		if slot.conn == nil || slot.generation != e.Pad {
			continue
		}
		if e.Events&pollHups != 0 {
			slot.conn.poll.hup.Store(true)
		}
		list = append(list, slot.conn)
	}
	return list
}
