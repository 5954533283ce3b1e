package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/envelope"
)

// Sessions returns the store of this adapter's sessions. Nodes of npm find in it what this node has saved, and the
// other way around.
func (s *Streams) Sessions() adapter.SessionStore {
	return sessionStore{s.builder.rdb, s.opts.SessionKeyPrefix}
}

// sessionStore keeps each session under a key of its own.
type sessionStore struct {
	rdb    redis.UniversalClient
	prefix string
}

func (s sessionStore) Save(ctx context.Context, session *adapter.Session, ttl time.Duration) error {
	record, err := envelope.EncodeSession(session)
	if err != nil {
		return fmt.Errorf("save session: %w", err)
	}
	if err := s.rdb.Do(ctx, "set", s.prefix+session.PID, record, "px", ttl.Milliseconds()).Err(); err != nil {
		return fmt.Errorf("save session: %w", err)
	}
	return nil
}

func (s sessionStore) Load(ctx context.Context, pid string) (*adapter.Session, error) {
	record, err := s.rdb.Get(ctx, s.prefix+pid).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load session: %w", err)
	}
	session, err := envelope.DecodeSession(record)
	if err != nil {
		return nil, fmt.Errorf("load session: %w", err)
	}
	return session, nil
}

func (s sessionStore) Delete(ctx context.Context, pid string) (bool, error) {
	n, err := s.rdb.Del(ctx, s.prefix+pid).Result()
	if err != nil {
		return false, fmt.Errorf("delete session: %w", err)
	}
	return n > 0, nil
}
