package redisadapter

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/internal/returning"
	"github.com/sockeye-io/sockeye/server"
)

// recoveryFlavour is an adapter that can keep what it broadcasts.
type recoveryFlavour interface {
	adapter.Builder
	Ready(ctx context.Context) error
	Stats() Stats
}

// recoveryFlavours are all of them, without log.
func recoveryFlavours() map[string]func(rdb redis.UniversalClient) recoveryFlavour {
	quiet := Options{Logger: slog.New(slog.DiscardHandler)}
	return map[string]func(rdb redis.UniversalClient) recoveryFlavour{
		"pubsub": func(rdb redis.UniversalClient) recoveryFlavour { return NewPubSub(rdb, &PubSubOptions{Options: quiet}) },
		"exact": func(rdb redis.UniversalClient) recoveryFlavour {
			return NewPubSub(rdb, &PubSubOptions{Options: quiet, ExactChannels: true})
		},
		"static": func(rdb redis.UniversalClient) recoveryFlavour {
			return NewSharded(rdb, &ShardedOptions{Options: quiet, SubscriptionMode: Static})
		},
		"dynamic": func(rdb redis.UniversalClient) recoveryFlavour {
			return NewSharded(rdb, &ShardedOptions{Options: quiet})
		},
		"streams": func(rdb redis.UniversalClient) recoveryFlavour {
			return NewStreams(rdb, &StreamsOptions{Options: quiet})
		},
	}
}

func recoveryNodes(t *testing.T, s *redistest.Server, n int) []*returning.Node {
	t.Helper()
	return recoveryNodesWith(t, s, n, server.RecoveryOptions{})
}

func recoveryNodesWith(t *testing.T, s *redistest.Server, n int, o server.RecoveryOptions) []*returning.Node {
	t.Helper()
	return recoveryNodesOf(t, func() redis.UniversalClient { return s.Client() }, recoveryFlavours()["streams"], n, o)
}

func recoveryNodesOf(t *testing.T, client func() redis.UniversalClient, build func(redis.UniversalClient) recoveryFlavour, n int, o server.RecoveryOptions) []*returning.Node {
	t.Helper()
	nodes := make([]*returning.Node, n)
	for i := range nodes {
		rdb := client()
		t.Cleanup(func() { _ = rdb.Close() })
		nodes[i] = returning.Start(t, build(rdb), fmt.Sprint("node", i), o)
	}
	return nodes
}

// TestRecovery has clients go from node to node, some before their connection is known to be lost, while all nodes send: everybody
// gets everything once, in each sender's order.
func TestRecovery(t *testing.T) {
	single, cluster := redistest.Single(t), redistest.Cluster(t)
	for name, build := range recoveryFlavours() {
		t.Run(name, func(t *testing.T) {
			returning.Roam(t, recoveryNodesOf(t, func() redis.UniversalClient { return single.Client() }, build, 3, server.RecoveryOptions{}), 9, 200)
		})
		if name == "pubsub" || name == "dynamic" {
			t.Run(name+", Redis Cluster", func(t *testing.T) {
				returning.Roam(t, recoveryNodesOf(t, func() redis.UniversalClient { return cluster.Client() }, build, 3, server.RecoveryOptions{}), 5, 100)
			})
		}
	}
}

// TestRecoveryOrder: what ends a socket, or takes it out of a room, comes behind what was sent to it before.
func TestRecoveryOrder(t *testing.T) {
	single := redistest.Single(t)
	for name, build := range recoveryFlavours() {
		t.Run(name, func(t *testing.T) {
			returning.Order(t, recoveryNodesOf(t, func() redis.UniversalClient { return single.Client() }, build, 1, server.RecoveryOptions{})[0])
		})
	}
}

// TestStreamsHistory runs the suite of histories.
func TestStreamsHistory(t *testing.T) {
	server := redistest.Single(t)
	for name, opts := range streamsVariants {
		t.Run(name, func(t *testing.T) {
			adaptertest.RunHistory(t, 3, everyNode(func() redis.UniversalClient { return server.Client() }, func(prefix string) func(redis.UniversalClient) adapter.Builder {
				opts.SessionKeyPrefix = prefix + ":session:"
				return streamed(opts)(prefix)
			}))
		})
	}
}

// TestPubSubHistory runs the suite of histories with the logs beside pub/sub.
func TestPubSubHistory(t *testing.T) {
	single, cluster := redistest.Single(t), redistest.Cluster(t)
	classic := func(prefix string) func(redis.UniversalClient) adapter.Builder {
		return func(rdb redis.UniversalClient) adapter.Builder { return NewPubSub(rdb, &PubSubOptions{Key: prefix}) }
	}
	dynamic := func(prefix string) func(redis.UniversalClient) adapter.Builder {
		return func(rdb redis.UniversalClient) adapter.Builder {
			return NewSharded(rdb, &ShardedOptions{ChannelPrefix: prefix})
		}
	}
	one := func() redis.UniversalClient { return single.Client() }
	many := func() redis.UniversalClient { return cluster.Client() }
	for name, newCluster := range map[string]adaptertest.NewCluster{
		"pubsub":                 everyNode(one, classic),
		"sharded":                everyNode(one, dynamic),
		"pubsub, Redis Cluster":  everyNode(many, classic),
		"sharded, Redis Cluster": everyNode(many, dynamic),
	} {
		t.Run(name, func(t *testing.T) { adaptertest.RunHistory(t, 3, newCluster) })
	}
}

// TestNewNode: a node that has just started reads in the log what a client has missed. When that was trimmed the client starts anew, but not at
// the node that remembers it.
func TestNewNode(t *testing.T) {
	for name, build := range recoveryFlavours() {
		t.Run(name, func(t *testing.T) {
			s := redistest.Single(t)
			start := func() *returning.Node {
				return recoveryNodesOf(t, func() redis.UniversalClient { return s.Client() }, build, 1, server.RecoveryOptions{})[0]
			}
			old, stays, sent := start(), returning.NewCounting(t), 0
			stays.Come(old)
			var away []*returning.Counting
			for range 3 {
				r := returning.NewCounting(t)
				r.Settle(old)
				away = append(away, r)
			}
			say := func() {
				for range 10 {
					if err := old.Of("/").Emit("n", sent); err != nil {
						t.Fatal(err)
					}
					sent++
				}
				stays.Until("n", sent-1)
			}
			comes := func(r *returning.Counting, n *returning.Node, want string) {
				t.Helper()
				before := n.Stats().Recovery[want]
				if recovered := r.Come(n); recovered != (want == "recovered") || n.Stats().Recovery[want] != before+1 {
					t.Errorf("want %s: %v", want, n.Stats().Recovery)
				}
				if want == "recovered" {
					r.Until("n", sent-1)
				}
			}
			say()
			for _, r := range away {
				r.Until("n", sent-1)
				r.Conn.Cut()
			}
			say()
			comes(away[0], start(), "recovered")
			for keys := s.Client().ScanType(t.Context(), 0, "*", 1000, "stream").Iterator(); keys.Next(t.Context()); {
				s.Do("XTRIM", keys.Val(), "MAXLEN", 1)
			}
			comes(away[1], start(), "gap")
			comes(away[2], old, "recovered")
		})
	}
}
