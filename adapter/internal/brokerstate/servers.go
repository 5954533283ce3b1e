package brokerstate

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// Server is what one server has open to the broker.
type Server interface {
	comparable
	// Status returns its state.
	Status() *Status
	// Ready waits until everything that is wanted is heard, and returns why not when ctx ends first.
	Ready(ctx context.Context) error
}

// Servers has what the servers with one adapter have open. The zero value is ready; all methods may be called concurrently.
type Servers[S Server] struct {
	mu sync.Mutex
	// Guarded by mu.
	open    []S
	changed chan struct{} // closed with the next that is added, nil if nobody waits for it
	retired uint64        // changes of state of servers that have closed
}

// Add notes a server that has opened.
func (l *Servers[S]) Add(s S) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, s)
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// Remove notes a server that has closed.
func (l *Servers[S]) Remove(s S) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.open, s); i >= 0 {
		l.open = slices.Delete(l.open, i, i+1)
		l.retired += s.Status().Changes()
	}
}

// Open returns the servers that are open.
func (l *Servers[S]) Open() []S {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.open)
}

// Ready waits until the servers are ready, for the first one if there is none yet, and returns why not when ctx ends first. broker
// is how the error calls the broker.
func (l *Servers[S]) Ready(ctx context.Context, broker string) error {
	servers, err := l.some(ctx)
	for _, s := range servers {
		if err == nil {
			err = s.Ready(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("%s is not ready: %w", broker, err)
	}
	return nil
}

// some returns the servers as soon as there is one.
func (l *Servers[S]) some(ctx context.Context) ([]S, error) {
	for {
		l.mu.Lock()
		servers := slices.Clone(l.open)
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		if len(servers) > 0 {
			return servers, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Worst returns the state of the server that is worst off, and how often the states of all have changed.
func (l *Servers[S]) Worst() (state adapter.BrokerState, since time.Time, changes uint64, reason error) {
	l.mu.Lock()
	servers, changes := slices.Clone(l.open), l.retired
	l.mu.Unlock()
	for i, s := range servers {
		if st, at, why := s.Status().Since(); i == 0 || st.Worse(state) {
			state, since, reason = st, at, why
		}
		changes += s.Status().Changes()
	}
	return state, since, changes, reason
}
