// Package computing is work of a server beside its clients, as an application may have it: goroutines that compute and allocate. The
// Go programs that `make bench-peers` measures have it in common; the event "compute" of the bench app sets it.
package computing

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
)

const (
	most  = 64
	bytes = 4 << 10 // allocated and hashed at a time
)

// Set is a set of goroutines; the zero value has none. It may be used from any goroutine.
type Set struct {
	mu      sync.Mutex
	stop    chan struct{} // guarded by mu; nil while nothing computes
	running sync.WaitGroup
	done    atomic.Int64
}

// Set has n goroutines compute from now on, in place of those before, and returns how many units of 4 KB those have done.
func (s *Set) Set(n int) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		close(s.stop)
		s.running.Wait()
		s.stop = nil
	}
	if n > 0 {
		stop := make(chan struct{})
		s.stop = stop
		for range min(n, most) {
			s.running.Go(func() { s.compute(stop) })
		}
	}
	return s.done.Swap(0)
}

func (s *Set) compute(stop <-chan struct{}) {
	var sum [sha256.Size]byte
	for {
		select {
		case <-stop:
			return
		default:
		}
		data := make([]byte, bytes)
		copy(data, sum[:])
		sum = sha256.Sum256(data)
		s.done.Add(1)
	}
}
