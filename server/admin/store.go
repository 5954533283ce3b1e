package admin

import (
	"cmp"
	"context"
	"sync"
	"time"
)

// Store keeps the ids of sessions of pages, each for a time of its own choice. Its methods may be called from any goroutine, and may
// block until ctx ends. Ids are secrets.
type Store interface {
	SessionExists(ctx context.Context, id string) (bool, error)
	SaveSession(ctx context.Context, id string) error
}

// MemoryStoreOptions configure a MemoryStore. Nil and the zero value mean the defaults.
type MemoryStoreOptions struct {
	// Duration is how long a session lasts. Default 24 h, as in Node's RedisStore.
	Duration time.Duration
	// MaxSessions bounds how many there are; the oldest make room. Default 1000.
	MaxSessions int
}

// MemoryStore is a Store for servers of one process.
type MemoryStore struct {
	opts MemoryStoreOptions // static

	mu sync.Mutex
	// Guarded by mu.
	ends  map[string]time.Time
	order []string // of ends
}

// NewMemoryStore makes an empty store; opts may be nil.
func NewMemoryStore(opts *MemoryStoreOptions) *MemoryStore {
	m := &MemoryStore{ends: make(map[string]time.Time)}
	if opts != nil {
		m.opts = *opts
	}
	m.opts.Duration = cmp.Or(m.opts.Duration, 24*time.Hour)
	m.opts.MaxSessions = cmp.Or(m.opts.MaxSessions, 1000)
	return m
}

// SessionExists reports whether a session was saved and has not ended.
func (m *MemoryStore) SessionExists(_ context.Context, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	end, ok := m.ends[id]
	return ok && time.Now().Before(end), nil
}

// SaveSession keeps a session.
func (m *MemoryStore) SaveSession(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for len(m.order) > 0 && (len(m.order) >= m.opts.MaxSessions || !now.Before(m.ends[m.order[0]])) {
		delete(m.ends, m.order[0])
		m.order = m.order[1:]
	}
	m.ends[id] = now.Add(m.opts.Duration)
	m.order = append(m.order, id)
	return nil
}
