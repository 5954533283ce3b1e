package redisadapter

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

var clusters atomic.Int64

// freshPrefix keeps the clusters of tests on one Redis apart.
func freshPrefix() string { return "test-" + strconv.FormatInt(clusters.Add(1), 10) }

func TestSharded(t *testing.T) {
	server := redistest.Single(t)
	for _, mode := range []SubscriptionMode{Static, Dynamic, DynamicPrivate} {
		t.Run(string(mode), func(t *testing.T) {
			adaptertest.Run(t, 3, func(t *testing.T, n int) []adapter.Builder {
				prefix := freshPrefix()
				return nodes(func() redis.UniversalClient { return server.Client() }, func(rdb redis.UniversalClient) adapter.Builder {
					return NewSharded(rdb, &ShardedOptions{ChannelPrefix: prefix, SubscriptionMode: mode})
				})(t, n)
			})
		})
	}
}
