package engine

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// workers run what connections have to do when they become readable, the application's part included. Some of them stay
// for the next job, because their stacks have the size that handlers need: growing that of a new goroutine costs more
// than reading. Those that nobody needs end soon, the others with the last connection. There is no limit to the number
// that run, because a job may block.
type workers struct {
	tasks *tasks // static after construction

	mu sync.Mutex
	// Guarded by mu.
	idle        []chan job // of those that wait; the last one is taken first
	spare       int        // how many of them, at least, have waited since the last trim
	trimmer     *time.Timer
	trimming    bool // trimmer runs
	connections int
}

// job is work for a worker.
type job interface{ run() }

// maxIdleWorkers is how many workers wait for work.
var maxIdleWorkers = 32 * runtime.GOMAXPROCS(0)

// idleWorkerTime is how long a worker waits at the least; at twice that time it ends.
const idleWorkerTime = 20 * time.Millisecond

// join counts a connection that may have jobs, leave takes it away.
func (w *workers) join() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.connections++
}

func (w *workers) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.connections--; w.connections > 0 {
		return
	}
	w.endLocked(len(w.idle))
	w.idle = nil
}

// trim ends the workers that have not been needed since the last time.
func (w *workers) trim() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.endLocked(w.spare)
	w.spare = len(w.idle)
	if w.trimming = w.spare > 0; w.trimming {
		w.trimmer.Reset(idleWorkerTime)
	}
}

// endLocked ends the n workers that have waited longest.
func (w *workers) endLocked(n int) {
	for _, worker := range w.idle[:n] {
		close(worker)
	}
	w.idle = slices.Delete(w.idle, 0, n)
	w.spare = 0
}

// do runs j on a goroutine of its own.
func (w *workers) do(j job) {
	w.mu.Lock()
	if last := len(w.idle) - 1; last >= 0 {
		worker := w.idle[last]
		w.idle = w.idle[:last]
		w.spare = min(w.spare, last)
		w.mu.Unlock()
		worker <- j
		return
	}
	w.mu.Unlock()
	go w.work(j)
}

// work is a worker.
func (w *workers) work(j job) {
	var next chan job
	for j != nil {
		j.run()
		if next == nil {
			next = make(chan job, 1)
		}
		if !w.wait(next) {
			return
		}
		j = <-next
		w.tasks.done()
	}
}

// wait notes that a worker has nothing to do. It reports false when enough others have. Server.Close waits for the workers
// that wait, which end with the last connection; not for those that run application code.
func (w *workers) wait(next chan job) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.connections == 0 || len(w.idle) >= maxIdleWorkers {
		return false
	}
	w.idle = append(w.idle, next)
	switch {
	case w.trimming:
	case w.trimmer == nil:
		w.trimmer = time.AfterFunc(idleWorkerTime, w.trim)
	default:
		w.trimmer.Reset(idleWorkerTime)
	}
	w.trimming = true
	w.tasks.hold()
	return true
}
