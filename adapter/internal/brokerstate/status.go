// Package brokerstate keeps the state of one server's way to its broker, tells a hook of the changes, and lets others wait for them.
package brokerstate

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// maxWaiting is how many changes wait for the hook at most.
const maxWaiting = 64

// Options configure a Status.
type Options struct {
	// Name is what the log calls it, such as "redis adapter".
	Name   string
	Logger *slog.Logger
	// OnChange is told each change, one at a time and in order on a goroutine of its own; at most 64 wait for it, beyond that the oldest
	// are skipped. nil: nobody is told.
	OnChange func(state adapter.BrokerState, reason error)
}

// Status is the state. All methods may be called concurrently; only those that take a context block.
type Status struct {
	// Static after construction.
	opts Options

	// Guarded by mu.
	mu      sync.Mutex
	owner   any // the only one that may set the state
	state   adapter.BrokerState
	reason  error
	since   time.Time
	changes uint64
	losses  uint64 // how often the state became down
	waiting []transition
	telling bool
	changed chan struct{} // closed with the next change
	down    chan struct{} // closed while the state is down
}

type transition struct {
	state  adapter.BrokerState
	reason error
}

// New returns a Status that is starting and has no owner.
func New(opts Options) *Status {
	return &Status{opts: opts, since: time.Now(), changed: make(chan struct{}), down: make(chan struct{})}
}

// Own begins anew with another owner, a pointer; nil is none.
func (s *Status) Own(owner any) {
	s.mu.Lock()
	s.owner = owner
	s.mu.Unlock()
	s.Set(owner, adapter.BrokerStarting, nil)
}

// Set changes the state, unless the owner is one of former times. Another reason for being down is remembered, but is no change.
func (s *Status) Set(owner any, state adapter.BrokerState, reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner != owner {
		return
	}
	if s.state == state {
		s.reason = reason
		return
	}
	lasted := time.Since(s.since).Round(time.Millisecond)
	was := s.state
	s.state, s.reason, s.since = state, reason, time.Now()
	s.changes++
	close(s.changed)
	s.changed = make(chan struct{})
	if was == adapter.BrokerDown {
		s.down = make(chan struct{})
	}
	switch state {
	case adapter.BrokerDown:
		close(s.down)
		s.losses++
		s.opts.Logger.Warn(s.opts.Name+" is down", "reason", reason)
	case adapter.BrokerUp:
		s.opts.Logger.Info(s.opts.Name+" is up", "after", lasted)
	}
	s.noteLocked(transition{state, reason})
}

// noteLocked has the hook told.
func (s *Status) noteLocked(t transition) {
	if s.opts.OnChange == nil {
		return
	}
	if len(s.waiting) == maxWaiting {
		s.waiting = s.waiting[1:]
	}
	s.waiting = append(s.waiting, t)
	if !s.telling {
		s.telling = true
		go s.tell()
	}
}

// tell runs the hook until it knows everything.
func (s *Status) tell() {
	for {
		s.mu.Lock()
		if len(s.waiting) == 0 {
			s.telling = false
			s.mu.Unlock()
			return
		}
		next := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.mu.Unlock()
		s.opts.OnChange(next.state, next.reason)
	}
}

// Current returns the state and, if it is down, the reason.
func (s *Status) Current() (adapter.BrokerState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.reason
}

// Since returns the state, its reason and when it began.
func (s *Status) Since() (state adapter.BrokerState, since time.Time, reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.since, s.reason
}

// Is reports whether the state is the given one.
func (s *Status) Is(state adapter.BrokerState) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == state
}

// WaitUp returns nil once the state is up, or the reason why it is not when ctx ends.
func (s *Status) WaitUp(ctx context.Context) error {
	for {
		s.mu.Lock()
		state, reason, changed := s.state, s.reason, s.changed
		s.mu.Unlock()
		if state == adapter.BrokerUp {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if reason == nil {
				reason = ctx.Err()
			}
			return reason
		}
	}
}

// Await returns true when the state is the given one, AwaitNot when it is another; false when ctx has ended.
func (s *Status) Await(ctx context.Context, state adapter.BrokerState) bool {
	return s.awaitThat(ctx, func() bool { return s.state == state })
}

// AwaitNot is described with Await.
func (s *Status) AwaitNot(ctx context.Context, state adapter.BrokerState) bool {
	return s.awaitThat(ctx, func() bool { return s.state != state })
}

func (s *Status) awaitThat(ctx context.Context, holds func() bool) bool {
	for {
		s.mu.Lock()
		ok, changed := holds(), s.changed
		s.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// Away returns a channel that is closed while the state is down.
func (s *Status) Away() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

// Changes returns how often the state has changed.
func (s *Status) Changes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes
}

// Downs returns how often the state became down.
func (s *Status) Downs() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.losses
}
