package redisadapter

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

func TestStreams(t *testing.T) {
	server := redistest.Single(t)
	for name, opts := range map[string]StreamsOptions{
		"plain":   {},
		"sharded": {UseShardedPubSub: true, StreamCount: 3},
	} {
		t.Run(name, func(t *testing.T) {
			adaptertest.Run(t, 3, func(t *testing.T, n int) []adapter.Builder {
				opts.StreamName = freshPrefix()
				opts.ChannelPrefix = opts.StreamName
				return nodes(func() redis.UniversalClient { return server.Client() }, func(rdb redis.UniversalClient) adapter.Builder {
					return NewStreams(rdb, &opts)
				})(t, n)
			})
		})
	}
}
