package redisadapter

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// State says whether the cluster can be reached through Redis.
type State uint8

const (
	// Starting: no namespace is open, or Redis has neither answered nor failed to answer yet.
	Starting State = iota
	// Up: commands are answered, all subscriptions are confirmed and Redis counts them.
	Up
	// Down: one of that does not hold, or Redis has refused a command. Local delivery goes on, messages for other nodes wait, and
	// questions fail at once.
	Down
)

// worse reports whether a server in this state is worse off than one in another.
func (s State) worse(than State) bool {
	return s == Down && than != Down || s == Starting && than == Up
}

func (s State) String() string {
	switch s {
	case Up:
		return "up"
	case Down:
		return "down"
	default:
		return "starting"
	}
}

var (
	errNoAnswer   = errors.New("no answer from redis")
	errNotCounted = errors.New("redis does not count our subscription")
	errUnsettled  = errors.New("subscriptions are not confirmed yet")
	errLost       = errors.New("subscriptions were lost")
)

// trouble names the kind of an error in statistics.
func trouble(err error) string {
	var refusal redis.Error
	if errors.As(err, &refusal) {
		word, _, _ := strings.Cut(refusal.Error(), " ")
		switch word {
		case "READONLY", "LOADING", "CLUSTERDOWN", "OOM", "NOPERM", "MOVED", "ASK", "TRYAGAIN", "MASTERDOWN", "MISCONF", "BUSY", "NOREPLICAS":
			return strings.ToLower(word)
		case "NOAUTH", "WRONGPASS":
			return "auth"
		case "ERR":
			if strings.Contains(refusal.Error(), "invalid password") {
				return "auth"
			}
		}
		return "other"
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errNoAnswer) || errors.As(err, &timeout) && timeout.Timeout() {
		return "timeout"
	}
	return "connection"
}

// notReady reports whether Redis answered that it takes no commands for now. It has not executed the command then.
func notReady(err error) bool {
	switch trouble(err) {
	case "loading", "auth", "masterdown", "busy", "clusterdown", "tryagain":
		return true
	}
	return false
}

// status is the state of a hub. All methods may be called concurrently.
type status struct {
	opts Options

	// Guarded by mu.
	mu      sync.Mutex
	owner   *monitor // the only one that may set the state
	state   State
	reason  error
	since   time.Time
	changes uint64
	losses  uint64 // how often the state became Down
	waiting []transition
	telling bool
	changed chan struct{} // closed with the next change
	down    chan struct{} // closed while the state is Down
}

type transition struct {
	state  State
	reason error
}

func newStatus(opts Options) *status {
	return &status{opts: opts, since: time.Now(), changed: make(chan struct{}), down: make(chan struct{})}
}

func (s *status) current() (State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.reason
}

// own begins with a new monitor; nil is none.
func (s *status) own(m *monitor) {
	s.mu.Lock()
	s.owner = m
	s.mu.Unlock()
	s.set(m, Starting, nil)
}

// set changes the state, unless m is a monitor of former times. Another reason for being down is remembered, but is no
// change.
func (s *status) set(m *monitor, state State, reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner != m {
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
	if was == Down {
		s.down = make(chan struct{})
	}
	switch state {
	case Down:
		close(s.down)
		s.losses++
		s.opts.Logger.Warn("redis adapter is down", "reason", reason)
	case Up:
		s.opts.Logger.Info("redis adapter is up", "after", lasted)
	}
	if s.opts.OnStateChange == nil {
		return
	}
	if len(s.waiting) == 64 {
		s.waiting = s.waiting[1:]
	}
	s.waiting = append(s.waiting, transition{state, reason})
	if !s.telling {
		s.telling = true
		go s.tell()
	}
}

// tell runs the hook until it knows everything.
func (s *status) tell() {
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
		s.opts.OnStateChange(next.state, next.reason)
	}
}

// waitUp returns nil once the state is Up, or the reason why it is not when ctx ends.
func (s *status) waitUp(ctx context.Context) error {
	for {
		s.mu.Lock()
		state, reason, changed := s.state, s.reason, s.changed
		s.mu.Unlock()
		if state == Up {
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

// await returns true when the state is the given one, awaitNot when it is another; false when ctx has ended.
func (s *status) await(ctx context.Context, state State) bool {
	return s.awaitThat(ctx, func() bool { return s.state == state })
}

func (s *status) awaitNot(ctx context.Context, state State) bool {
	return s.awaitThat(ctx, func() bool { return s.state != state })
}

func (s *status) awaitThat(ctx context.Context, holds func() bool) bool {
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

// away returns a channel that is closed while the state is Down.
func (s *status) away() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

// count returns how often the state has changed.
func (s *status) count() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes
}

func (s *status) downs() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.losses
}

func (s *status) is(state State) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == state
}

// isReply reports whether an error is an answer of Redis, not trouble with the connection.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// redirected reports whether a server of a Redis Cluster has not executed a command because of its slot.
func redirected(err error) bool {
	kind := trouble(err)
	return kind == "moved" || kind == "ask"
}
