package auth

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// NewMemoryRevocations returns a store for servers of one process, which all get the same one. It ends with the process.
func NewMemoryRevocations() adapter.RevocationStore { return &memoryRevocations{} }

// memoryRevocations is a store in memory. Cursors are numbers of revocations, counted from the first one.
type memoryRevocations struct {
	mu sync.Mutex
	// Guarded by mu.
	list []timedRevocation
	gone int // how many have been dropped from the front
}

type timedRevocation struct {
	adapter.Revocation
	until time.Time
}

func (m *memoryRevocations) Revoke(ctx context.Context, r adapter.Revocation, keep time.Duration) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for len(m.list) > 0 && now.After(m.list[0].until) {
		m.list = m.list[1:]
		m.gone++
	}
	r.Before = r.Before.Truncate(time.Millisecond)
	m.list = append(m.list, timedRevocation{r, now.Add(keep)})
	return nil
}

func (m *memoryRevocations) Revocations(ctx context.Context, cursor string) ([]adapter.Revocation, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, cursor, fmt.Errorf("read revocations: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	seen, _ := strconv.Atoi(cursor)
	from := min(max(0, seen-m.gone), len(m.list))
	var list []adapter.Revocation
	for _, r := range m.list[from:] {
		list = append(list, r.Revocation)
	}
	if len(list) == 0 {
		return nil, cursor, nil
	}
	return list, strconv.Itoa(m.gone + len(m.list)), nil
}
