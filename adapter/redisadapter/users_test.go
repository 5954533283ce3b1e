package redisadapter

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestUserStore runs the suite on one server and on a Redis Cluster.
func TestUserStore(t *testing.T) {
	stores := func(client func() redis.UniversalClient, flush func()) adaptertest.NewUserStores {
		return func(t *testing.T) (a, b adapter.UserStore) {
			flush()
			opts := &UserStoreOptions{Buckets: 500}
			return NewUserStore(client(), opts), NewUserStore(client(), opts)
		}
	}
	t.Run("single", func(t *testing.T) {
		server := redistest.Single(t)
		adaptertest.RunUserStore(t, stores(func() redis.UniversalClient { return clientOf(t, server) }, func() { server.Do("flushall") }))
	})
	t.Run("cluster", func(t *testing.T) {
		c := redistest.Cluster(t)
		rdb := c.Client()
		t.Cleanup(func() { rdb.Close() })
		adaptertest.RunUserStore(t, stores(func() redis.UniversalClient { return rdb }, func() {
			for _, addr := range c.Addrs() {
				if s := c.Server(addr); s.Role() == "master" {
					s.Do("flushall")
				}
			}
		}))
	})
}
