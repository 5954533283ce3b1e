package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/redisadapter"
	"github.com/sockeye-io/sockeye/server"
)

// readyTimeout is how long --redis-required waits for Redis.
const readyTimeout = 5 * time.Second

// Values of --adapter.
const (
	pubSubAdapter  = "pubsub"
	shardedAdapter = "sharded"
	streamsAdapter = "streams"
)

// clusterFlags say how the nodes of a cluster talk. Their defaults are those of the adapters, which are Node's; the flags
// have none of their own, so that one that has no effect can be told from one that was not given.
type clusterFlags struct {
	redisFlags

	Adapter          string `enum:",pubsub,sharded,streams" default:"" placeholder:"NAME" help:"How the nodes talk through Redis, the same on all of them: pubsub (default; any Redis), sharded (Redis 7 pub/sub) or streams."`
	Key              string `placeholder:"PREFIX" help:"What the names of the channels begin with (Node's key, or channelPrefix), the same on all nodes; socket.io by default."`
	SubscriptionMode string `enum:",static,dynamic,dynamic-private" default:"" placeholder:"MODE" help:"sharded: which rooms have channels of their own: static (none), dynamic (default; public ones) or dynamic-private (all). The same on all nodes."`
	StreamName       string `placeholder:"NAME" help:"streams: name of the stream; socket.io by default."`
	StreamCount      int    `placeholder:"N" help:"streams: streams that the namespaces are spread over; 1 by default, the same on all nodes."`
	StreamMaxLen     int    `placeholder:"N" help:"streams: entries that a stream keeps, about; 10000 by default."`
}

// nodeFlags say how this node takes part.
type nodeFlags struct {
	clusterFlags

	Required                         bool          `name:"redis-required" help:"Do not start without Redis. By default a node starts alone, and joins the others when Redis answers."`
	RequestsTimeout                  time.Duration `help:"pubsub: how long the answers of other nodes are waited for; 5s by default."`
	PublishOnSpecificResponseChannel bool          `help:"pubsub: answer on a channel of the asking node only; the same on all nodes."`
	ExactChannels                    bool          `help:"pubsub: subscribe to the rooms of this node instead of to all of them."`
	NodeOverAfter                    time.Duration `help:"How long another node must be silent until its life counts as over; 5m by default."`
	QueueLimit                       int           `name:"redis-queue-limit" placeholder:"BYTES" help:"How much may wait for Redis, in bytes, while it is away or slow: what exceeds it is refused, and its sender told; 67108864 (64 MiB) by default."`
	QueueAge                         time.Duration `name:"redis-queue-age" help:"How long a message waits for Redis at most; 30s by default."`
	AnswerTimeout                    time.Duration `name:"redis-answer-timeout" help:"How long Redis may owe an answer before it counts as down and the connection as dead; 3s by default."`
	UseShardedPubSub                 bool          `name:"use-sharded-pubsub" help:"streams: send questions and answers through sharded pub/sub (Redis 7); the same on all nodes."`
}

func (f *clusterFlags) flavour() string { return cmp.Or(f.Adapter, pubSubAdapter) }

// flag is one that only has an effect with Redis, and with one adapter unless adapter is "".
type flag struct {
	name    string
	given   bool
	adapter string
}

func (f *clusterFlags) flags() []flag {
	return []flag{
		{"--redis-cluster", f.RedisCluster, ""},
		{"--adapter", f.Adapter != "", ""},
		{"--key", f.Key != "", ""},
		{"--subscription-mode", f.SubscriptionMode != "", shardedAdapter},
		{"--stream-name", f.StreamName != "", streamsAdapter},
		{"--stream-count", f.StreamCount != 0, streamsAdapter},
		{"--stream-max-len", f.StreamMaxLen != 0, streamsAdapter},
	}
}

func (f *nodeFlags) flags() []flag {
	return append(f.clusterFlags.flags(),
		flag{"--redis-required", f.Required, ""},
		flag{"--node-over-after", f.NodeOverAfter != 0, ""},
		flag{"--redis-queue-limit", f.QueueLimit != 0, ""},
		flag{"--redis-queue-age", f.QueueAge != 0, ""},
		flag{"--redis-answer-timeout", f.AnswerTimeout != 0, ""},
		flag{"--requests-timeout", f.RequestsTimeout != 0, pubSubAdapter},
		flag{"--publish-on-specific-response-channel", f.PublishOnSpecificResponseChannel, pubSubAdapter},
		flag{"--exact-channels", f.ExactChannels, pubSubAdapter},
		flag{"--use-sharded-pubsub", f.UseShardedPubSub, streamsAdapter},
	)
}

// check refuses flags without an effect, and values that the adapters would take for none.
func (f *clusterFlags) check(flags []flag) error {
	for _, flag := range flags {
		switch {
		case !flag.given:
		case len(f.Redis) == 0:
			return fmt.Errorf("%s needs --redis", flag.name)
		case flag.adapter != "" && flag.adapter != f.flavour():
			return fmt.Errorf("%s needs --adapter %s", flag.name, flag.adapter)
		}
	}
	switch {
	case f.StreamCount < 0:
		return fmt.Errorf("--stream-count must be positive, got %d", f.StreamCount)
	case f.StreamMaxLen < 0:
		return fmt.Errorf("--stream-max-len must be positive, got %d", f.StreamMaxLen)
	}
	return nil
}

func (f *nodeFlags) validate() error {
	if f.RequestsTimeout < 0 {
		return fmt.Errorf("--requests-timeout must be positive, got %v", f.RequestsTimeout)
	}
	if f.NodeOverAfter < 0 {
		return fmt.Errorf("--node-over-after must be positive, got %v", f.NodeOverAfter)
	}
	switch {
	case f.QueueLimit < 0:
		return fmt.Errorf("--redis-queue-limit must be positive, got %d", f.QueueLimit)
	case f.QueueAge < 0:
		return fmt.Errorf("--redis-queue-age must be positive, got %v", f.QueueAge)
	case f.AnswerTimeout < 0:
		return fmt.Errorf("--redis-answer-timeout must be positive, got %v", f.AnswerTimeout)
	}
	return f.check(f.flags())
}

// cluster is what connects this node with the others.
type cluster struct {
	builder interface {
		server.AdapterBuilder
		Ready(context.Context) error
	}
	rdb redis.UniversalClient
}

// open makes the adapter and its Redis client. Nothing connects before the first namespace exists. The adapter logs when
// the other nodes can be reached and when not.
func (f *nodeFlags) open(log *slog.Logger) (*cluster, error) {
	rdb, err := f.client(log)
	if err != nil {
		return nil, err
	}
	c := &cluster{rdb: rdb}
	opts := redisadapter.Options{
		Logger: log.With("redis", f.place(), "adapter", f.flavour()), NodeOverAfter: f.NodeOverAfter,
		QueueLimit: f.QueueLimit, QueueAge: f.QueueAge, AnswerTimeout: f.AnswerTimeout,
	}
	switch f.flavour() {
	case shardedAdapter:
		c.builder = redisadapter.NewSharded(rdb, &redisadapter.ShardedOptions{
			Options: opts, ChannelPrefix: f.Key, SubscriptionMode: redisadapter.SubscriptionMode(f.SubscriptionMode),
		})
	case streamsAdapter:
		c.builder = redisadapter.NewStreams(rdb, &redisadapter.StreamsOptions{
			Options: opts, StreamName: f.StreamName, StreamCount: f.StreamCount, MaxLen: f.StreamMaxLen,
			ChannelPrefix: f.Key, UseShardedPubSub: f.UseShardedPubSub,
		})
	default:
		c.builder = redisadapter.NewPubSub(rdb, &redisadapter.PubSubOptions{
			Options: opts, Key: f.Key, RequestsTimeout: f.RequestsTimeout,
			PublishOnSpecificResponseChannel: f.PublishOnSpecificResponseChannel, ExactChannels: f.ExactChannels,
		})
	}
	return c, nil
}

// users makes the store of the directory. Clusters that do not hear each other have directories of their own.
func (f *nodeFlags) users(c *cluster) adapter.UserStore {
	return redisadapter.NewUserStore(c.rdb, &redisadapter.UserStoreOptions{Prefix: cmp.Or(f.StreamName, f.Key)})
}

// ready waits until the other nodes can be reached.
func (c *cluster) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := c.builder.Ready(ctx); err != nil {
		return fmt.Errorf("%w; without --redis-required the node starts alone", err)
	}
	return nil
}

// close lets go of Redis. The adapters must be closed before.
func (c *cluster) close() error { return c.rdb.Close() }
