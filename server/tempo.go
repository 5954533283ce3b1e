package server

import (
	"bytes"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
)

const (
	// slowCall is how long the callbacks of an event may take and still be quick.
	slowCall = time.Millisecond
	// An event is quick after so many calls without a slow one, or after some that took so long.
	quickCalls = 10_000
	someCalls  = 1_000
	quickTime  = 10 * time.Second
	// quickTasks is how many events of one socket the goroutine that reads handles in a row.
	quickTasks = 16
)

// tempo tells whether the callbacks of an event of a namespace are quick: then they run on the goroutine that has read the event,
// while others wait for it (engine.ReadHot). A slow one takes that back.
type tempo struct {
	calls atomic.Uint32 // without a slow one, not counted further than quickCalls
	since atomic.Int64  // when they began, see monotonic
}

var processStart = time.Now()

// monotonic is a time in nanoseconds that corrections of the wall clock do not move.
func monotonic() int64 { return int64(time.Since(processStart)) }

func (t *tempo) quick() bool {
	calls := t.calls.Load()
	return calls >= quickCalls || calls >= someCalls && monotonic()-t.since.Load() >= int64(quickTime)
}

// good follows a call that was not slow.
func (t *tempo) good() {
	switch calls := t.calls.Load(); {
	case calls == 0:
		t.since.Store(monotonic())
		t.calls.Store(1)
	case calls < quickCalls:
		t.calls.Add(1)
	}
}

// bad follows a call that was slow.
func (t *tempo) bad() { t.calls.Store(0) }

// doubt follows a call that took long, if nobody knows whether that was its fault: some calls have to prove that it was not.
func (t *tempo) doubt() {
	t.since.Store(monotonic())
	t.calls.Store(quickCalls - someCalls)
}

// timedCall is one call of the callbacks.
type timedCall struct {
	tempo  *tempo
	began  int64 // see monotonic
	strict bool  // before is known
	before switches
}

// begin begins to measure a call. What is known to be quick is measured by the time alone, which costs least.
func (t *tempo) begin() timedCall {
	c := timedCall{tempo: t, strict: t.calls.Load() < quickCalls}
	if c.strict {
		c.before = threadSwitches()
	}
	c.began = monotonic()
	return c
}

// end follows the call. One during which the kernel gave the processor to another process was not slow by itself.
func (c timedCall) end() {
	switch {
	case monotonic()-c.began <= int64(slowCall):
		c.tempo.good()
	case !c.strict:
		c.tempo.doubt()
	case !c.before.preempted(threadSwitches()):
		c.tempo.bad()
	}
}

// tempoOf returns the tempo of an event, nil if it has none.
func (s *Socket) tempoOf(event string) *tempo {
	if !s.nsp.server.hot {
		return nil
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
	tempo := s.nsp.hooks().tempos[string(name)]
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
		if !s.nextIsQuick() {
			break
		}
		t, ok, more := s.next(false)
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

// nextIsQuick reports whether the next task of the inbox, if there is one, is quick.
func (s *Socket) nextIsQuick() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.inbox
	if in.head == len(in.items) {
		return true
	}
	t := &in.items[in.head]
	return t.step == stepEvent && s.quick(t.packet)
}

// preempted reports whether all that happened to the thread was that others got its processor. Where the goroutine has waited, its
// thread has too, or it is on another one.
func (s switches) preempted(now switches) bool { return now.given == s.given && now.taken > s.taken }
