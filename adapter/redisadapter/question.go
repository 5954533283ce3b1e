package redisadapter

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
)

// ask puts a question about subscriptions to the servers that can know: for a shard channel the one that serves it, else
// all of them, for in a Redis Cluster each server knows only its own subscribers.
func (h *hub) ask(ctx context.Context, s space, name string, question func(context.Context, *redis.Client) error) error {
	r := h.running()
	if r == nil || !h.status.Is(Up) {
		return adapter.ErrClusterUnavailable
	}
	result := make(chan error, 1)
	go func() { result <- r.servers.each(ctx, s, name, question) }()
	select {
	case err := <-result:
		if err != nil {
			return errors.Join(adapter.ErrClusterUnavailable, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ask redis: %w", ctx.Err())
	}
}
