package engine

import (
	"sync"
	"time"
)

// tasks knows the goroutines of a server, and what its sessions have still to do on others, so that Close can wait for it. Unlike a sync.WaitGroup it may be waited
// for while the first goroutine is being started.
type tasks struct {
	mu sync.Mutex
	// Guarded by mu.
	n    int
	idle chan struct{} // closed when n falls to zero; nil unless somebody waits
}

// start runs f on a new goroutine.
func (t *tasks) start(f func()) {
	t.hold()
	go func() {
		defer t.done()
		f()
	}()
}

// hold counts work on a goroutine that is not the server's, until done.
func (t *tasks) hold() {
	t.mu.Lock()
	t.n++
	t.mu.Unlock()
}

func (t *tasks) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n--
	if t.n == 0 && t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
}

// wait reports whether all goroutines have ended within the limit; a negative limit waits for ever.
func (t *tasks) wait(limit time.Duration) bool {
	t.mu.Lock()
	if t.n == 0 {
		t.mu.Unlock()
		return true
	}
	if t.idle == nil {
		t.idle = make(chan struct{})
	}
	idle := t.idle
	t.mu.Unlock()
	if limit < 0 {
		<-idle
		return true
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-idle:
		return true
	case <-timer.C:
		return false
	}
}
