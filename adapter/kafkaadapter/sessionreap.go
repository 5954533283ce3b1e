package kafkaadapter

import (
	"context"
	"fmt"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/envelope"
)

const (
	// reapBatch is how many sessions one call of Reap tells of.
	reapBatch = 100
	// reapCalm is for how long Kafka must have been there again after an outage before anybody is taken for gone: the nodes need some time to
	// write the sessions of those that are connected. It is no longer than clients may be away.
	reapCalm = 15 * time.Second
)

// Reap implements adapter.SessionReaper. Every node knows which sessions are over; a record of each decides who tells.
func (s *sessionStore) Reap(ctx context.Context) (sessions []*adapter.Session, more bool, err error) {
	var pids []string
	if s.isCalm() {
		pids, err = s.log.over(ctx, s.namespace)
	}
	if err == nil {
		err = s.reap(ctx, pids)
	}
	s.mu.Lock()
	sessions, s.reaped = s.reaped, nil
	s.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("look for sessions that are over: %w", err)
	}
	return sessions, len(pids) == reapBatch && err == nil, err
}

// isCalm reports whether Kafka was not away a moment ago.
func (s *sessionStore) isCalm() bool {
	status := s.log.b.status
	state, since, _ := status.Since()
	return state == Up && (status.Downs() == 0 || time.Since(since) > s.calm)
}

// over lists some sessions that are to be told of.
func (l *sessionLog) over(ctx context.Context, namespace string) ([]string, error) {
	if err := l.await(ctx); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.table.over(namespace, reapBatch), nil
}

// reap writes that this node wants to tell of sessions, and waits until that was read back. What is read back later is told by the next
// call of Reap.
func (s *sessionStore) reap(ctx context.Context, pids []string) error {
	read := make(chan error, len(pids))
	for _, pid := range pids {
		_, err := s.log.write(s.namespace, &sessionStep{do: sessionReap, pid: pid}, func(told sessionTold, err error) {
			s.tellOf(told)
			read <- err
		})
		if err != nil {
			return err
		}
	}
	for range pids {
		select {
		case err := <-read:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return unavailable(ctx.Err())
		}
	}
	return nil
}

// tellOf notes a session that this node is to tell of.
func (s *sessionStore) tellOf(told sessionTold) {
	if told.text == "" {
		return
	}
	session, err := envelope.DecodeSession(told.text)
	if err != nil { // nobody could have gone on with it
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reaped = append(s.reaped, session)
}
