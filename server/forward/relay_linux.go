package forward

import (
	"context"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// loops are as many as there are processors. They exist while there are relays. A loop is one goroutine that waits for all its
// connections by epoll, and never for one of them: what a connection does not take is kept, and nothing more is read for it
// meanwhile. The epoll descriptor is itself registered with Go's network poller, so that waiting blocks no thread.
type loops struct {
	lingerTime time.Duration // see relays

	next atomic.Uint32

	mu sync.Mutex
	// Guarded by mu.
	all    []*loop // made with the first relay
	closed bool
}

// add has a loop take a relay over; gone is called at its end. It reports false, having changed nothing, if that cannot be.
func (l *loops) add(client, node net.Conn, life context.Context, gone func()) bool {
	a, b := rawConn(client), rawConn(node)
	if a == nil || b == nil {
		return false
	}
	r := &relay{gone: gone}
	r.sides[0] = side{conn: client, raw: a}
	r.sides[1] = side{conn: node, raw: b}
	all := l.open()
	return len(all) > 0 && all[l.next.Add(1)%uint32(len(all))].add(r, life)
}

// open makes the loops if need be. There are none when they have been closed before the first relay.
func (l *loops) open() []*loop {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil && !l.closed {
		l.all = make([]*loop, runtime.GOMAXPROCS(0))
		for i := range l.all {
			l.all[i] = &loop{lingerTime: l.lingerTime}
		}
	}
	return l.all
}

// made returns the loops that there are.
func (l *loops) made() []*loop {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all
}

// close ends all relays, and those that come.
func (l *loops) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	for _, on := range l.made() {
		on.close()
		on.running.Wait()
	}
}

// endOne has one relay end, if there is one that does not already: any of them.
func (l *loops) endOne() bool {
	all := l.made()
	for _, i := range rand.Perm(len(all)) {
		if all[i].endOne() {
			return true
		}
	}
	return false
}

// cut ends all relays.
func (l *loops) cut() {
	for _, on := range l.made() {
		on.cut()
	}
}

func rawConn(conn net.Conn) syscall.RawConn {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// relay is a pair of connections. It belongs to its loop, whose lock guards all of it.
type relay struct {
	sides  [2]side
	slot   int32
	gone   func()
	stop   func() bool // ends the wait for the end of the other node's life
	stall  *time.Timer // see watchStallLocked; nil while nothing can stall
	moves  uint64      // of both sides, when it was set
	queued bool
	leaves bool // endOne has chosen it
}

// side is one connection of a relay.
type side struct {
	conn    net.Conn
	raw     syscall.RawConn
	pending []byte // what is to be written, when the connection takes it
	moves   uint64 // how often it has taken something
	more    bool   // there may be something to read
	hup     bool   // the peer has ended, so that a read that fills no buffer does not have everything
	ended   bool   // read to its end
	shut    bool   // the end of the other side has been passed on
}

type loop struct {
	lingerTime time.Duration // static

	mu sync.Mutex
	// Guarded by mu.
	closed bool
	set    *epollSet // nil while there are no relays
	slots  []slot
	free   []int32
	n      int
	ready  []*relay // are to be moved, in turns

	io      transfer
	running sync.WaitGroup // added to with mu held
}

// slot is where an event finds its relay. The generation keeps an event that comes late away from the one that has it by then.
type slot struct {
	relay      *relay
	generation int32
}

type epollSet struct {
	file *os.File
	raw  syscall.RawConn
	fd   int
}

const (
	relayEvents = syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | syscall.EPOLLET&0xffffffff
	relayHups   = syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR
	batchSize   = 128
	readSize    = 16 << 10
	// turnReads is how often one side is read until the others have their turn.
	turnReads = 8
)

func (l *loop) add(r *relay, life context.Context) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.set == nil && !l.openLocked() {
		return false
	}
	if len(l.free) == 0 {
		l.slots = append(l.slots, slot{})
		l.free = append(l.free, int32(len(l.slots)-1))
	}
	r.slot = l.free[len(l.free)-1]
	at := &l.slots[r.slot]
	at.relay = r
	l.free = l.free[:len(l.free)-1]
	l.n++
	for i := range r.sides {
		if !l.watchLocked(r, i) {
			l.forgetLocked(r)
			return false
		}
	}
	r.stop = context.AfterFunc(life, func() { l.end(r) })
	return true
}

// watchLocked registers a side. Its number is the lowest bit of what an event carries.
func (l *loop) watchLocked(r *relay, i int) bool {
	event := syscall.EpollEvent{Events: relayEvents, Fd: r.slot<<1 | int32(i), Pad: l.slots[r.slot].generation}
	failed := syscall.EBADF
	err := r.sides[i].raw.Control(func(fd uintptr) {
		failed, _ = syscall.EpollCtl(l.set.fd, syscall.EPOLL_CTL_ADD, int(fd), &event).(syscall.Errno)
	})
	return err == nil && failed == 0
}

// forgetLocked takes a relay out of the loop. Its descriptors leave the epoll set when they are closed, or here.
func (l *loop) forgetLocked(r *relay) {
	for i := range r.sides {
		_ = r.sides[i].raw.Control(func(fd uintptr) {
			_ = syscall.EpollCtl(l.set.fd, syscall.EPOLL_CTL_DEL, int(fd), nil)
		})
	}
	at := &l.slots[r.slot]
	at.relay = nil
	at.generation++
	l.free = append(l.free, r.slot)
	if l.n--; l.n == 0 {
		_ = l.set.file.Close()
		l.set, l.slots, l.free, l.ready = nil, nil, nil, nil
	}
}

func (l *loop) openLocked() bool {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	_ = syscall.SetNonblock(fd, true)
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return false
	}
	l.set = &epollSet{file: file, raw: raw, fd: fd}
	if l.io.buf == nil {
		l.io.init()
	}
	set := l.set
	l.running.Go(func() { l.run(set) })
	return true
}

// run serves the relays until there are none.
func (l *loop) run(set *epollSet) {
	events := make([]syscall.EpollEvent, batchSize)
	n := 0
	wait := func(fd uintptr) bool {
		n, _ = syscall.EpollWait(int(fd), events, 0)
		return n > 0
	}
	for set.raw.Read(wait) == nil {
		if !l.serve(set, events[:max(n, 0)]) {
			return
		}
	}
}

// serve moves what the events tell of, and then what there was more of, in turns.
func (l *loop) serve(set *epollSet, events []syscall.EpollEvent) (goOn bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.set != set {
		return false
	}
	l.noteLocked(events)
	for len(l.ready) > 0 && l.set == set {
		turn := l.ready
		l.ready = nil
		for _, r := range turn {
			r.queued = false
			l.moveLocked(r)
		}
		if len(l.ready) > 0 {
			l.mu.Unlock() // for those who come and end
			runtime.Gosched()
			l.mu.Lock()
		}
	}
	return l.set == set
}

func (l *loop) noteLocked(events []syscall.EpollEvent) {
	for i := range events {
		e := &events[i]
		at := &l.slots[e.Fd>>1]
		if at.relay == nil || at.generation != e.Pad {
			continue
		}
		s := &at.relay.sides[e.Fd&1]
		if e.Events&(syscall.EPOLLIN|relayHups) != 0 {
			s.more = true
		}
		if e.Events&relayHups != 0 {
			s.hup = true
		}
		l.queueLocked(at.relay)
	}
}

// watchStallLocked bounds how long nothing moves once a side has ended, or while the client takes nothing: its node may have closed
// the connection long ago, the end comes behind what is pending. A node may take nothing for as long as its handlers need.
func (l *loop) watchStallLocked(r *relay) {
	if r.stall == nil && r.mayStall() {
		r.moves = r.sides[0].moves + r.sides[1].moves
		r.stall = time.AfterFunc(l.lingerTime, func() { l.endStalled(r) })
	}
}

func (r *relay) mayStall() bool {
	return r.sides[0].pending != nil || r.sides[0].hup || r.sides[1].hup || r.leaves
}

func (l *loop) endStalled(r *relay) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.hasLocked(r) {
		return
	}
	if r.stall = nil; r.mayStall() && r.moves == r.sides[0].moves+r.sides[1].moves {
		l.endLocked(r)
		return
	}
	l.watchStallLocked(r)
}

func (l *loop) queueLocked(r *relay) {
	if !r.queued {
		r.queued = true
		l.ready = append(l.ready, r)
	}
}

// moveLocked gives both directions a turn.
func (l *loop) moveLocked(r *relay) {
	if !l.hasLocked(r) {
		return
	}
	if !l.copyLocked(&r.sides[0], &r.sides[1]) || !l.copyLocked(&r.sides[1], &r.sides[0]) {
		l.endLocked(r)
		return
	}
	if r.sides[0].shut && r.sides[1].shut {
		l.endLocked(r)
		return
	}
	l.watchStallLocked(r)
	if r.sides[0].canMove(&r.sides[1]) || r.sides[1].canMove(&r.sides[0]) {
		l.queueLocked(r)
	}
}

// canMove reports whether there may be something to read that the other side takes.
func (s *side) canMove(to *side) bool { return s.more && to.pending == nil && !s.ended }

// copyLocked moves what one side has for the other. It reports false if the relay is broken.
func (l *loop) copyLocked(from, to *side) bool {
	if to.pending != nil && !l.io.flush(to) {
		return false
	}
	for turn := 0; turn < turnReads && from.canMove(to); turn++ {
		n, state := l.io.read(from)
		switch state {
		case readFailed:
			return false
		case readEnd:
			from.ended, from.more = true, false
		case readNothing:
			from.more = false
		case readSome:
			from.more = n == len(l.io.buf) || from.hup
			if !l.io.write(to, l.io.buf[:n]) {
				return false
			}
		}
	}
	if from.ended && to.pending == nil && !to.shut {
		to.shut = true
		half, ok := to.conn.(interface{ CloseWrite() error })
		return ok && half.CloseWrite() == nil
	}
	return true
}

// end closes a relay that may have ended already.
func (l *loop) end(r *relay) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hasLocked(r) {
		l.endLocked(r)
	}
}

func (l *loop) hasLocked(r *relay) bool {
	return int(r.slot) < len(l.slots) && l.slots[r.slot].relay == r
}

func (l *loop) endLocked(r *relay) {
	r.stop()
	if r.stall != nil {
		r.stall.Stop()
	}
	l.forgetLocked(r)
	for i := range r.sides {
		_ = r.sides[i].conn.Close()
	}
	r.gone()
}

// endOne takes nothing more of the client of one relay, so that its node sees the end. It begins to look anywhere.
func (l *loop) endOne() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n == 0 {
		return false
	}
	first := rand.IntN(len(l.slots))
	for i := range l.slots {
		if r := l.slots[(first+i)%len(l.slots)].relay; r != nil && !r.leaves {
			r.leaves, r.sides[0].more = true, true
			l.moveLocked(r) // what the client has sent by now
			r.sides[0].ended, r.sides[0].more = true, false
			l.moveLocked(r)
			return true
		}
	}
	return false
}

func (l *loop) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cut()
}

func (l *loop) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range l.slots {
		if at.relay != nil {
			l.endLocked(at.relay)
		}
	}
}

// transfer reads and writes without waiting. Its callbacks are made once: each use would be an allocation otherwise.
type transfer struct {
	buf  []byte
	p    []byte // what is to be written
	n    int
	err  error
	do   func(fd uintptr) bool // reads into buf
	give func(fd uintptr) bool // writes p
}

func (t *transfer) init() {
	t.buf = make([]byte, readSize)
	t.do = func(fd uintptr) bool {
		for {
			if t.n, t.err = syscall.Read(int(fd), t.buf); t.err != syscall.EINTR {
				return true
			}
		}
	}
	t.give = func(fd uintptr) bool {
		for {
			if t.n, t.err = syscall.Write(int(fd), t.p); t.err != syscall.EINTR {
				return true
			}
		}
	}
}

type readState uint8

const (
	readSome readState = iota
	readNothing
	readEnd
	readFailed
)

func (t *transfer) read(s *side) (n int, state readState) {
	if err := s.raw.Read(t.do); err != nil {
		return 0, readFailed
	}
	switch {
	case t.err == syscall.EAGAIN:
		return 0, readNothing
	case t.err != nil:
		return 0, readFailed
	case t.n == 0:
		return 0, readEnd
	}
	return t.n, readSome
}

// write writes p, or keeps what the connection does not take. It reports false if that is broken.
func (t *transfer) write(s *side, p []byte) bool {
	n, ok := t.try(s, p)
	if ok && n < len(p) {
		s.pending = append([]byte(nil), p[n:]...)
	}
	return ok
}

// flush writes what was kept.
func (t *transfer) flush(s *side) bool {
	n, ok := t.try(s, s.pending)
	if s.pending = s.pending[n:]; len(s.pending) == 0 {
		s.pending = nil
	}
	return ok
}

func (t *transfer) try(s *side, p []byte) (n int, ok bool) {
	for n < len(p) {
		t.p = p[n:]
		err := s.raw.Write(t.give)
		t.p = nil
		switch {
		case err != nil:
			return n, false
		case t.err == syscall.EAGAIN:
			return n, true
		case t.err != nil:
			return n, false
		}
		n += t.n
		s.moves++
	}
	return n, true
}
