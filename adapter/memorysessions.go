package adapter

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// memorySessionsMax is how many sessions a node without a broker keeps of one namespace; the oldest expire early then.
const memorySessionsMax = 100_000

// memorySessions is the SessionStore of a cluster of one node.
type memorySessions struct {
	// Static after construction.
	limit   int
	expired func(*Session) // may be nil

	mu sync.Mutex
	// Guarded by mu.
	sessions map[string]*keptSession // by pid; nil after close
	saved    list.List               // of *keptSession, the oldest first
}

type keptSession struct {
	*Session
	timer *time.Timer
	place *list.Element
}

func newMemorySessions(limit int, expired func(*Session)) *memorySessions {
	return &memorySessions{limit: limit, expired: expired, sessions: make(map[string]*keptSession)}
}

// Save implements SessionStore.
func (m *memorySessions) Save(_ context.Context, s *Session, ttl time.Duration) error {
	m.mu.Lock()
	if m.sessions == nil {
		m.mu.Unlock()
		return ErrClosed
	}
	m.removeLocked(m.sessions[s.PID])
	k := &keptSession{Session: s}
	k.timer = time.AfterFunc(ttl, func() { m.expire(k) })
	k.place = m.saved.PushBack(k)
	m.sessions[s.PID] = k
	var oldest *keptSession
	if len(m.sessions) > m.limit {
		oldest = m.saved.Front().Value.(*keptSession)
	}
	m.mu.Unlock()
	if oldest != nil {
		m.expire(oldest)
	}
	return nil
}

// removeLocked forgets a session; nil is none.
func (m *memorySessions) removeLocked(k *keptSession) {
	if k != nil {
		k.timer.Stop()
		m.saved.Remove(k.place)
		delete(m.sessions, k.PID)
	}
}

func (m *memorySessions) expire(k *keptSession) {
	m.mu.Lock()
	kept := m.sessions[k.PID] == k
	if kept {
		m.removeLocked(k)
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
	m.removeLocked(k)
	return true, nil
}

func (m *memorySessions) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.sessions {
		k.timer.Stop()
	}
	m.sessions = nil
	m.saved.Init()
}
