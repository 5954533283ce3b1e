package redisadapter

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
)

// builder is what all flavours are.
type builder interface {
	adapter.Builder
	Ready(ctx context.Context) error
	Stats() Stats
}

// nodes returns a function for adaptertest.Run that makes nodes which share a Redis.
func nodes(client func() redis.UniversalClient, build func(rdb redis.UniversalClient) adapter.Builder) adaptertest.NewCluster {
	return func(t *testing.T, n int) []adapter.Builder {
		var builders []adapter.Builder
		for range n {
			rdb := client()
			t.Cleanup(func() { rdb.Close() })
			builders = append(builders, build(rdb))
		}
		return builders
	}
}

// patience is how long tests wait for what has to happen.
const patience = 30 * time.Second

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
