package engine

import (
	"runtime"
	"sync"
)

// workers run what connections have to do when they become readable, the application's part included. Some of them stay
// for the next job, because their stacks have the size that handlers need: growing that of a new goroutine costs more
// than reading. They end when no connection is left. There is no limit to the number that run, because a job may block.
type workers struct {
	tasks *tasks // static after construction

	mu sync.Mutex
	// Guarded by mu.
	idle        []chan job // of those that wait
	connections int
}

// job is work for a worker.
type job interface{ run() }

// maxIdleWorkers is how many workers wait for work.
var maxIdleWorkers = 32 * runtime.GOMAXPROCS(0)

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
	for _, worker := range w.idle {
		close(worker)
	}
	w.idle = nil
}

// do runs j on a goroutine of its own.
func (w *workers) do(j job) {
	w.mu.Lock()
	if last := len(w.idle) - 1; last >= 0 {
		worker := w.idle[last]
		w.idle = w.idle[:last]
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
	w.tasks.hold()
	return true
}
