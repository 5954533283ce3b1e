package redisadapter

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// AdminStoreOptions configure an AdminStore. Nil and the zero value mean the defaults of RedisStore of @socket.io/admin-ui.
type AdminStoreOptions struct {
	// Prefix begins the keys. Default "socket.io-admin".
	Prefix string
	// Duration is how long a session lasts, in whole seconds. Default 24 h.
	Duration time.Duration
}

// AdminStore keeps the sessions of pages that have logged in to package server/admin, so that they can come back to any node: those of
// Node.js too, whose RedisStore has the same keys.
type AdminStore struct {
	rdb  redis.UniversalClient
	opts AdminStoreOptions
}

// NewAdminStore makes a store; opts may be nil. The caller closes the client.
func NewAdminStore(rdb redis.UniversalClient, opts *AdminStoreOptions) *AdminStore {
	s := &AdminStore{rdb: rdb}
	if opts != nil {
		s.opts = *opts
	}
	s.opts.Prefix = cmp.Or(s.opts.Prefix, "socket.io-admin")
	s.opts.Duration = max(cmp.Or(s.opts.Duration, 24*time.Hour), time.Second)
	return s
}

func (s *AdminStore) key(id string) string { return s.opts.Prefix + "#" + id }

// SessionExists reports whether a session was saved, by any node, and has not ended.
func (s *AdminStore) SessionExists(ctx context.Context, id string) (bool, error) {
	n, err := s.rdb.Exists(ctx, s.key(id)).Result()
	if err != nil {
		return false, fmt.Errorf("look up session: %w", err)
	}
	return n == 1, nil
}

// SaveSession keeps a session.
func (s *AdminStore) SaveSession(ctx context.Context, id string) error {
	if err := s.rdb.Set(ctx, s.key(id), "true", s.opts.Duration).Err(); err != nil {
		return fmt.Errorf("save session: %w", err)
	}
	return nil
}
