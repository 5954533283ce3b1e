package metrics_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter/redisadapter"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/metrics"
)

// TestRedis measures through real Redis with each adapter; stops it, so that what was under way is lost; and lets it go on.
func TestRedis(t *testing.T) {
	opts := redisadapter.Options{Logger: slog.New(slog.DiscardHandler), AnswerTimeout: 6 * time.Second}
	for name, build := range map[string]func(*redis.Client) server.AdapterBuilder{
		"pubsub": func(rdb *redis.Client) server.AdapterBuilder {
			return redisadapter.NewPubSub(rdb, &redisadapter.PubSubOptions{Options: opts})
		},
		"sharded": func(rdb *redis.Client) server.AdapterBuilder {
			return redisadapter.NewSharded(rdb, &redisadapter.ShardedOptions{Options: opts})
		},
		"streams": func(rdb *redis.Client) server.AdapterBuilder {
			return redisadapter.NewStreams(rdb, &redisadapter.StreamsOptions{Options: opts})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := redistest.Single(t)
			rdb := redis.NewClient(&redis.Options{Addr: broker.Addr})
			t.Cleanup(func() { rdb.Close() })
			n := newNode(t, server.Options{Adapter: build(rdb), Logger: slog.New(slog.DiscardHandler)}, nil, nil)
			newNode(t, server.Options{Adapter: build(rdb), Logger: slog.New(slog.DiscardHandler)}, nil, nil)
			measured := func(more uint64) func() bool {
				before := n.srv.Stats().Cluster
				return func() bool {
					c := n.srv.Stats().Cluster
					return c.RoundTrip.Count >= before.RoundTrip.Count+more && c.OneWay.Count >= before.OneWay.Count+more && c.Broker.Up
				}
			}
			await(t, "measurement", measured(1))
			n.expect(t, map[string]float64{metrics.BrokerUp: 1, metrics.Members + " state=alive": 2, metrics.NodeInfo + " adapter=" + name: 1})

			broker.Pause()
			await(t, "lost canary", func() bool {
				c := n.srv.Stats().Cluster
				return !c.Broker.Up && c.RoundTripsLost > 0 && c.OneWaysLost > 0
			})
			n.expect(t, map[string]float64{metrics.BrokerUp: 0})
			broker.Resume()
			await(t, "measurement afterwards", measured(1))
		})
	}
}
