package natsadapter

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
)

// sink takes the messages of a subject. It is called by the goroutine that sorts what arrives and must be quick: look at the
// subject, then push to a feed. A call may be under way when the subject is not wanted any more.
type sink func(m *nats.Msg)

// subscriptions are the subjects that a server wants, whatever has become of the connection. All methods may be called
// concurrently; only wait blocks. Subscriptions are made and ended by the goroutine that writes, see session.
type subscriptions struct {
	// Static after construction.
	wake func() // called when there is something to subscribe to, or to end

	// Guarded by mu.
	mu      sync.Mutex
	all     map[string]*subscription // by subject
	refused map[string]*refused      // what NATS has refused and not confirmed since, by subject
	last    uint64                   // number of the last subscription
	changed []string                 // subjects to look at
	fresh   []made                   // what has been subscribed to and nobody has begun to confirm
	news    chan struct{}            // closed with the next confirmation; nil if nobody waits for it
}

// subscription is one subject. Its fields are guarded by subscriptions.mu.
type subscription struct {
	to        sink
	count     int // how often it is wanted
	optional  bool
	order     uint64             // of the first want
	current   *nats.Subscription // on the connection of now
	confirmed bool
}

// refused is a subscription that NATS does not grant. Its fields are guarded by subscriptions.mu.
type refused struct {
	err   error
	at    time.Time
	again bool // it is being tried again
}

// change is what the writer has to do about a subject.
type change struct {
	subject   string
	end       *nats.Subscription // nil if there is none to end
	subscribe bool
}

// made is a subscription that is to be confirmed.
type made struct {
	subject string
	current *nats.Subscription
}

func newSubscriptions(wake func()) *subscriptions {
	return &subscriptions{wake: wake, all: make(map[string]*subscription), refused: make(map[string]*refused)}
}

// want subscribes to a subject from now on, unwant ends that. It is wanted until each want has had its unwant, with the last sink
// given: a namespace may be opened again while the one before is being closed. The node does without an optional one.
func (s *subscriptions) want(subject string, optional bool, to sink) {
	s.mu.Lock()
	sub := s.all[subject]
	if sub == nil {
		s.last++
		sub = &subscription{order: s.last}
		s.all[subject] = sub
	}
	sub.to, sub.optional = to, optional
	sub.count++
	s.changed = append(s.changed, subject)
	s.mu.Unlock()
	s.wake()
}

func (s *subscriptions) unwant(subject string) {
	s.mu.Lock()
	if sub := s.all[subject]; sub != nil && sub.count > 0 {
		if sub.count--; sub.count == 0 {
			s.changed = append(s.changed, subject)
			s.newsLocked()
		}
	}
	s.mu.Unlock()
	s.wake()
}

// sink returns what takes the messages of a subject; nil if it is not wanted any more.
func (s *subscriptions) sink(subject string) sink {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub := s.all[subject]; sub != nil && sub.count > 0 {
		return sub.to
	}
	return nil
}

// begin forgets the former connection, so that everything is subscribed to anew, and returns how much that is. What was wanted first
// comes last: who is heard at its inbox hears all else.
func (s *subscriptions) begin() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed, s.fresh = s.changed[:0], nil
	clear(s.refused)
	for subject, sub := range s.all {
		if sub.count == 0 {
			delete(s.all, subject)
			continue
		}
		sub.current, sub.confirmed = nil, false
		s.changed = append(s.changed, subject)
	}
	slices.SortFunc(s.changed, func(a, b string) int { return cmp.Compare(s.all[b].order, s.all[a].order) })
	return len(s.all)
}

// changes returns what the writer has to do, once.
func (s *subscriptions) changes() (list []change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := make(map[string]bool, len(s.changed)) // a room may have come, gone and come again
	for _, subject := range s.changed {
		if seen[subject] {
			continue
		}
		seen[subject] = true
		sub := s.all[subject]
		switch {
		case sub == nil:
		case sub.count == 0:
			delete(s.all, subject)
			delete(s.refused, subject)
			if sub.current != nil {
				list = append(list, change{subject: subject, end: sub.current})
			}
		case sub.current == nil || s.triedLocked(subject):
			list = append(list, change{subject: subject, end: sub.current, subscribe: true})
		}
	}
	if s.changed = s.changed[:0]; cap(s.changed) > 4096 {
		s.changed = nil
	}
	return list
}

// subscribed notes what the writer has done.
func (s *subscriptions) subscribed(subject string, current *nats.Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub := s.all[subject]; sub != nil {
		sub.current = current
		s.fresh = append(s.fresh, made{subject, current})
	}
}

// unconfirmed returns what was subscribed to and is to be confirmed, once.
func (s *subscriptions) unconfirmed() (list []made) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, s.fresh = s.fresh, nil
	return list
}

// confirm notes that NATS has got subscriptions, unless it has refused them meanwhile.
func (s *subscriptions) confirm(list []made) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range list {
		sub := s.all[m.subject]
		if sub == nil || sub.current != m.current || s.refused[m.subject] != nil && !s.triedLocked(m.subject) {
			continue
		}
		sub.confirmed = true
		delete(s.refused, m.subject)
	}
	s.newsLocked()
}

// refuse notes that NATS does not let us subscribe, and reports whether the node cannot do without it.
func (s *subscriptions) refuse(subject string, err error) (needed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.all[subject]
	if sub == nil {
		return false
	}
	sub.confirmed = false
	s.refused[subject] = &refused{err: err, at: time.Now()}
	s.newsLocked()
	return !sub.optional
}

// triedLocked reports whether a subject that was refused is being tried again.
func (s *subscriptions) triedLocked(subject string) bool {
	r := s.refused[subject]
	return r != nil && r.again
}

// retry has what NATS refused a while ago tried again.
func (s *subscriptions) retry(now time.Time) {
	s.mu.Lock()
	tried := false
	for subject, r := range s.refused {
		if !r.again && now.Sub(r.at) > outflow.TryRefusedFor {
			r.again, tried = true, true
			s.changed = append(s.changed, subject)
		}
	}
	s.mu.Unlock()
	if tried {
		s.wake()
	}
}

// refusal returns one of those that the node needs, nil if there is none.
func (s *subscriptions) refusal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for subject, r := range s.refused {
		if sub := s.all[subject]; sub != nil && !sub.optional && sub.count > 0 {
			return r.err
		}
	}
	return nil
}

// newsLocked wakes up those who wait.
func (s *subscriptions) newsLocked() {
	if s.news != nil {
		close(s.news)
		s.news = nil
	}
}

// wait returns when NATS has confirmed subjects, or adapter.ErrClusterUnavailable when ctx ends or away is closed first; nil never
// is. It does not wait for what is not wanted any more, nor for what the node does without. Without subjects it waits for all.
func (s *subscriptions) wait(ctx context.Context, away <-chan struct{}, subjects ...string) error {
	for {
		s.mu.Lock()
		missing := s.missingLocked(subjects)
		if missing == "" {
			s.mu.Unlock()
			return nil
		}
		if s.news == nil {
			s.news = make(chan struct{})
		}
		news := s.news
		s.mu.Unlock()
		select {
		case <-news:
		case <-away:
			return adapter.ErrClusterUnavailable
		case <-ctx.Done():
			return fmt.Errorf("%w: wait for the subscription to %s: %w", adapter.ErrClusterUnavailable, missing, ctx.Err())
		}
	}
}

// confirmed returns when NATS has confirmed a subject, with the reason when it is known that it will not, and when ctx ends.
func (s *subscriptions) confirmed(ctx context.Context, subject string) error {
	for {
		s.mu.Lock()
		sub, refused := s.all[subject], s.refused[subject]
		if sub == nil || sub.count == 0 || sub.confirmed {
			s.mu.Unlock()
			return nil
		}
		if refused != nil && !refused.again {
			s.mu.Unlock()
			return refused.err
		}
		if s.news == nil {
			s.news = make(chan struct{})
		}
		news := s.news
		s.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("wait for the subscription to %s: %w", subject, ctx.Err())
		}
	}
}

// missingLocked returns a subject that is not confirmed, "" if there is none.
func (s *subscriptions) missingLocked(subjects []string) string {
	if len(subjects) == 0 {
		for subject, sub := range s.all {
			if sub.missing() {
				return subject
			}
		}
	}
	for _, subject := range subjects {
		if sub := s.all[subject]; sub != nil && sub.missing() {
			return subject
		}
	}
	return ""
}

func (s *subscription) missing() bool { return s.count > 0 && !s.confirmed && !s.optional }

func (s *subscriptions) figures() (wanted, confirmed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.all {
		if sub.count > 0 {
			wanted++
			if sub.confirmed {
				confirmed++
			}
		}
	}
	return wanted, confirmed
}
