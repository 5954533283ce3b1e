package outage

import (
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/redisadapter"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// Redis with pub/sub loses what is under way; the streams adapter loses only what goes to one node.
var (
	pubsub = onRedis("redis pubsub", func(rdb *redis.Client, opts redisadapter.Options) adapter.Builder {
		return redisadapter.NewPubSub(rdb, &redisadapter.PubSubOptions{Options: opts})
	})
	sharded = onRedis("redis sharded", func(rdb *redis.Client, opts redisadapter.Options) adapter.Builder {
		return redisadapter.NewSharded(rdb, &redisadapter.ShardedOptions{Options: opts})
	})
	streams = onRedis("redis streams", func(rdb *redis.Client, opts redisadapter.Options) adapter.Builder {
		return redisadapter.NewStreams(rdb, &redisadapter.StreamsOptions{Options: opts})
	})
)

func onRedis(name string, build func(*redis.Client, redisadapter.Options) adapter.Builder) *Flavour {
	return &Flavour{
		Name: name,
		Serve: func(t testing.TB) (Server, string) {
			s := redistest.Single(t)
			return s, s.Addr
		},
		Node: func(t testing.TB, _, via string, changed func(adapter.BrokerState)) adapter.Builder {
			rdb := redis.NewClient(&redis.Options{Addr: via, MaxRetries: -1})
			t.Cleanup(func() { _ = rdb.Close() })
			return build(rdb, redisadapter.Options{
				Logger:        slog.New(slog.DiscardHandler),
				OnStateChange: func(state adapter.BrokerState, _ error) { changed(state) },
			})
		},
		Promise: func(Trouble) Promise { return Promise{Noticed: 9 * time.Second, Crossing: 15 * time.Second} },
	}
}
