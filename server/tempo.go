package server

import (
	"bytes"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
)

const (
	// slowCall is how long the callbacks of an event may take and still be quick.
	slowCall = time.Millisecond
	// longCall is what no loss of a processor excuses.
	longCall = 5 * slowCall
	// usualCall is how long the calls of a quick event take on an average at most: some times what it costs to wake another goroutine,
	// and less than an answer of a database takes. While one that waits has the goroutine that reads, all clients wait with it.
	usualCall = 50 * time.Microsecond
	// usualCalls is how many of the last calls that average is about.
	usualCalls = 64
	// An event is quick after so many calls without a slow one, or after some that took so long.
	quickCalls = 10_000
	someCalls  = 1_000
	quickTime  = 10 * time.Second
	// quickTasks is how many events of one socket the goroutine that reads handles in a row.
	quickTasks = 16
)

// tempo tells whether the callbacks of an event of a namespace are quick: then they run on the goroutine that has read the event,
// while others wait for it (engine.ReadHot). A slow one takes that back, as soon as it is known to be slow.
type tempo struct {
	mu sync.Mutex
	// Guarded by mu.
	calls       int        // without a slow one, not counted further than quickCalls
	since       int64      // when they began, see monotonic
	doubted     bool       // then time proves nothing, only calls do
	usual       int64      // how long the last calls took on an average, in nanoseconds; slow ones apart
	first, last *timedCall // under way, the oldest first
}

var processStart = time.Now()

// monotonic is a time in nanoseconds that corrections of the wall clock do not move.
func monotonic() int64 { return int64(time.Since(processStart)) }

// quick reports whether the next call may be expected to be quick. While one is under way that is slow, as when a database hangs, it
// is not: that is known before the engine takes over from a goroutine that reads, so that its successor does not find the next one.
func (t *tempo) quick() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.usual > int64(usualCall) || t.first != nil && monotonic()-t.first.began > int64(slowCall) {
		return false
	}
	return t.calls >= quickCalls || t.calls >= someCalls && !t.doubted && monotonic()-t.since >= int64(quickTime)
}

// goodLocked follows a call that was not slow.
func (t *tempo) goodLocked(took time.Duration) {
	if t.calls == 0 {
		t.since = monotonic()
	}
	t.calls = min(t.calls+1, quickCalls)
	t.usual += (int64(took) - t.usual) / usualCalls
}

// badLocked follows a call that was slow.
func (t *tempo) badLocked() { t.calls, t.doubted = 0, false }

// doubtLocked follows a call that was slow, if nobody knows whether that was its fault: some calls have to prove that it was not.
func (t *tempo) doubtLocked() { t.calls, t.doubted = quickCalls-someCalls, true }

// timedCall is one call of the callbacks.
type timedCall struct {
	tempo  *tempo
	strict bool     // before is known
	before switches // of its thread
	began  int64    // see monotonic

	// Guarded by tempo.mu.
	previous, next *timedCall
}

var timedCalls = sync.Pool{New: func() any { return new(timedCall) }}

// begin begins to measure a call, until its end. After so many quick calls that the event is proved, the time alone is measured, which
// costs least. Of a nil tempo nothing is measured.
func (t *tempo) begin() *timedCall {
	if t == nil {
		return nil
	}
	c := timedCalls.Get().(*timedCall)
	c.tempo = t
	t.mu.Lock()
	c.strict = t.calls < quickCalls
	c.began = monotonic()
	if c.previous = t.last; t.last != nil {
		t.last.next = c
	} else {
		t.first = c
	}
	t.last = c
	t.mu.Unlock()
	if c.strict {
		c.before = threadSwitches()
	}
	return c
}

// end follows the call. One during which the kernel gave the processor to another process was not slow by itself, if it was not
// very slow.
func (c *timedCall) end() {
	if c == nil {
		return
	}
	t := c.tempo
	took := time.Duration(monotonic() - c.began)
	slow, long := took > slowCall, took >= longCall
	excused := slow && !long && c.strict && c.before.preempted(threadSwitches())
	t.mu.Lock()
	t.removeLocked(c)
	switch {
	case !slow:
		t.goodLocked(took)
	case excused:
	case !long && !c.strict:
		t.doubtLocked()
	default:
		t.badLocked()
	}
	t.mu.Unlock()
	*c = timedCall{}
	timedCalls.Put(c)
}

func (t *tempo) removeLocked(c *timedCall) {
	if c.previous != nil {
		c.previous.next = c.next
	} else {
		t.first = c.next
	}
	if c.next != nil {
		c.next.previous = c.previous
	} else {
		t.last = c.previous
	}
}

// tempos are those of the events that sockets of a namespace handle themselves, by name. Such handlers are registered for each socket
// anew, as a rule by the same line of the program, so that what they prove for one socket is taken to hold for all.
type tempos struct {
	mu sync.RWMutex
	of map[string]*tempo // guarded by mu
}

// maxOwnTempos bounds them: a program may make up names. What has no tempo is not quick.
const maxOwnTempos = 1_000

func (t *tempos) get(event string) *tempo {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.of[event]
}

// add lets an event prove that it is quick.
func (t *tempos) add(event string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of[event] != nil || len(t.of) >= maxOwnTempos {
		return
	}
	if t.of == nil {
		t.of = make(map[string]*tempo)
	}
	t.of[event] = new(tempo)
}

// proveAnew takes back what was proved.
func (t *tempos) proveAnew() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for event := range t.of {
		t.of[event] = new(tempo)
	}
}

// tempoOf returns the tempo of an event, nil if it has none.
func (s *Socket) tempoOf(event string) *tempo {
	if !s.nsp.server.hot {
		return nil
	}
	if own := s.ownHooks(); len(own.any)+len(own.events)+len(own.handlers[event]) > 0 {
		return s.nsp.ownTempos.get(event)
	}
	return s.nsp.hooks().tempos[event]
}

// quick reports whether the callbacks of p are quick, as far as is known.
func (s *Socket) quick(p *parser.Packet) bool {
	if !s.nsp.server.hot || s.nsp.concurrency() > 1 {
		return false
	}
	name, ok := plainName(p.JSON)
	if !ok {
		return false
	}
	tempo := s.tempoOf(string(name))
	return tempo != nil && tempo.quick()
}

// plainName returns the name of an event if it is written without escapes.
func plainName(args []byte) (name []byte, ok bool) {
	rest, ok := bytes.CutPrefix(args, []byte(`["`))
	if !ok {
		return nil, false
	}
	name, _, ok = bytes.Cut(rest, []byte{'"'})
	return name, ok && bytes.IndexByte(name, '\\') < 0
}

// workQuickly is work for a goroutine for which others wait: what is not quick goes to one of its own.
func (s *Socket) workQuickly() {
	running := false
	defer func() {
		if running { // a callback has called runtime.Goexit
			s.nsp.server.spawn(s.work)
		}
	}()
	for range quickTasks {
		t, ok, more, quick := s.nextQuick()
		if !quick {
			break
		}
		if more {
			s.nsp.server.spawn(s.work)
		}
		if !ok {
			return
		}
		running = true
		s.run(t)
		running = false
	}
	s.nsp.server.spawn(s.work) // in the place of this one
}

// nextQuick is next for a worker that takes quick tasks alone. quick is false, and nothing is taken, if the next task is another one, such
// as the end of the socket, which may come at any moment.
func (s *Socket) nextQuick() (t task, ok, more, quick bool) {
	s.mu.Lock()
	in := s.inbox
	quick = in.head == len(in.items) || in.items[in.head].step == stepEvent && s.quick(in.items[in.head].packet)
	if quick {
		t, ok, more = s.takeTaskLocked()
	}
	s.mu.Unlock()
	s.client.discharge(int64(t.bytes))
	return t, ok, more, quick
}

// preempted reports whether all that happened to the thread was that others got its processor. Where the goroutine has waited, its
// thread has too, or it is on another one.
func (s switches) preempted(now switches) bool { return now.given == s.given && now.taken > s.taken }
