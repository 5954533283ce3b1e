package adapter

import (
	"sync"
	"time"
)

// turns has functions called one after the other, in the order in which they were given. The zero value is ready.
type turns struct {
	mu sync.Mutex
	// Guarded by mu.
	queue   []func()
	running bool
	room    chan struct{} // closed when there is room in the queue again; nil while there is
}

const (
	// turnsQueue is how many functions wait before those who bring more have to wait, too.
	turnsQueue = 10_000
	// turnsPatience is how long they wait: they may be called by a function whose turn it is.
	turnsPatience = 50 * time.Millisecond
)

// take calls f, and what other goroutines bring meanwhile, unless another goroutine is at it; then that one calls f, later. A function
// that is called may itself call take.
func (t *turns) take(f func()) {
	t.add(f)
	t.run()
	t.yield()
}

// yield lets those who work catch up when too much waits.
func (t *turns) yield() {
	t.mu.Lock()
	if len(t.queue) > turnsQueue && t.room == nil {
		t.room = make(chan struct{})
	}
	room := t.room
	t.mu.Unlock()
	if room == nil {
		return
	}
	timer := time.NewTimer(turnsPatience)
	defer timer.Stop()
	select {
	case <-room:
	case <-timer.C:
	}
}

// add has a function called by the next run.
func (t *turns) add(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue = append(t.queue, f)
}

// idle reports whether nothing is called or waits.
func (t *turns) idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.running && len(t.queue) == 0
}

// run calls what waits, unless another goroutine is at it.
func (t *turns) run() {
	t.mu.Lock()
	mine := !t.running
	t.running = true
	t.mu.Unlock()
	if mine {
		t.work()
	}
}

// maxTurns is how many functions one goroutine calls in a row: it has something else to do.
const maxTurns = 1000

// work calls what waits.
func (t *turns) work() {
	finished := false
	defer func() {
		if !finished { // too many, or a function has ended this goroutine, by runtime.Goexit or a panic: the others are not to wait for ever
			go t.work()
		}
	}()
	for range maxTurns {
		f := t.next()
		if f == nil {
			finished = true
			return
		}
		f()
	}
}

// next returns the next function; nil ends the work.
func (t *turns) next() func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue) == 0 {
		t.queue, t.running = nil, false
		return nil
	}
	f := t.queue[0]
	t.queue[0] = nil
	t.queue = t.queue[1:]
	if t.room != nil && len(t.queue) <= turnsQueue/2 {
		close(t.room)
		t.room = nil
	}
	return f
}
