package adapter

import (
	"context"
	"sync"
	"time"
)

// memorySessions is the SessionStore of a cluster of one node.
type memorySessions struct {
	expired func(*Session) // static; may be nil

	mu sync.Mutex
	// Guarded by mu.
	sessions map[string]*keptSession // by pid; nil after close
}

type keptSession struct {
	*Session
	timer *time.Timer
}

func newMemorySessions(expired func(*Session)) *memorySessions {
	return &memorySessions{expired: expired, sessions: make(map[string]*keptSession)}
}

// Save implements SessionStore.
func (m *memorySessions) Save(_ context.Context, s *Session, ttl time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sessions == nil {
		return ErrClosed
	}
	if old := m.sessions[s.PID]; old != nil {
		old.timer.Stop()
	}
	k := &keptSession{Session: s}
	k.timer = time.AfterFunc(ttl, func() { m.expire(k) })
	m.sessions[s.PID] = k
	return nil
}

func (m *memorySessions) expire(k *keptSession) {
	m.mu.Lock()
	kept := m.sessions[k.PID] == k
	if kept {
		delete(m.sessions, k.PID)
	}
	m.mu.Unlock()
	if kept && m.expired != nil {
		m.expired(k.Session)
	}
}

// Load implements SessionStore.
func (m *memorySessions) Load(_ context.Context, pid string) (*Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.sessions[pid]; k != nil {
		return k.Session, nil
	}
	return nil, nil
}

// Delete implements SessionStore.
func (m *memorySessions) Delete(_ context.Context, pid string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.sessions[pid]
	if k == nil {
		return false, nil
	}
	k.timer.Stop()
	delete(m.sessions, pid)
	return true, nil
}

func (m *memorySessions) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.sessions {
		k.timer.Stop()
	}
	m.sessions = nil
}
