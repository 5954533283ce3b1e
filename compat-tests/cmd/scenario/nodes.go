package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter/redisadapter"
	"github.com/sockeye-io/sockeye/server"
)

// clusterFlags say which cluster this node is part of, in the words of `sockeye serve`.
type clusterFlags struct {
	redis, adapter, key, streamName  string
	subscriptionMode, parser         string
	specificResponses, shardedPubSub bool
}

func (f *clusterFlags) register() {
	flag.StringVar(&f.redis, "redis", "", "URL of the Redis that connects the nodes")
	flag.StringVar(&f.adapter, "adapter", "pubsub", "pubsub, sharded or streams")
	flag.StringVar(&f.key, "key", "", "prefix of the channels")
	flag.StringVar(&f.streamName, "stream-name", "", "name of the stream")
	flag.StringVar(&f.subscriptionMode, "subscription-mode", "", "static, dynamic or dynamic-private")
	flag.StringVar(&f.parser, "redis-parser", "", "json, or MessagePack")
	flag.BoolVar(&f.specificResponses, "publish-on-specific-response-channel", false, "answer the node that asked alone")
	flag.BoolVar(&f.shardedPubSub, "use-sharded-pub-sub", false, "ask other nodes through sharded pub/sub")
}

// connect makes the adapter of a node and an emitter for the same cluster, or nothing without Redis.
func (f *clusterFlags) connect() (server.AdapterBuilder, *redisadapter.Emitter, error) {
	if f.redis == "" {
		return nil, nil, nil
	}
	opts, err := redis.ParseURL(f.redis)
	if err != nil {
		return nil, nil, err
	}
	rdb := redis.NewClient(opts)
	switch f.adapter {
	case "pubsub":
		var parser redisadapter.Parser
		if f.parser == "json" {
			parser = redisadapter.JSON
		}
		return redisadapter.NewPubSub(rdb, &redisadapter.PubSubOptions{Key: f.key, PublishOnSpecificResponseChannel: f.specificResponses, Parser: parser}),
			redisadapter.NewPubSubEmitter(rdb, &redisadapter.PubSubEmitterOptions{Key: f.key, Parser: parser}), nil
	case "sharded":
		mode := redisadapter.SubscriptionMode(f.subscriptionMode)
		return redisadapter.NewSharded(rdb, &redisadapter.ShardedOptions{ChannelPrefix: f.key, SubscriptionMode: mode}),
			redisadapter.NewShardedEmitter(rdb, &redisadapter.ShardedEmitterOptions{ChannelPrefix: f.key, SubscriptionMode: mode}), nil
	case "streams":
		return redisadapter.NewStreams(rdb, &redisadapter.StreamsOptions{StreamName: f.streamName, ChannelPrefix: f.key, UseShardedPubSub: f.shardedPubSub}),
			redisadapter.NewStreamsEmitter(rdb, &redisadapter.StreamsEmitterOptions{StreamName: f.streamName}), nil
	default:
		return nil, nil, fmt.Errorf("--adapter %s is unknown", f.adapter)
	}
}

// outsider is the target of an emitter. Each call waits until Redis has the command.
type outsider struct {
	emitter *redisadapter.Emitter
	op      redisadapter.BroadcastOperator
}

func (s *scenario) outside(c *command) outsider {
	emitter := s.emitter.Of(c.NSP)
	op := emitter.Except(c.Except...)
	if len(c.To) > 0 { // Node reads an empty list as everybody
		op = op.To(c.To...)
	}
	if c.Volatile {
		op = op.Volatile()
	}
	if c.Compress != nil {
		op = op.Compress(*c.Compress)
	}
	return outsider{emitter: emitter, op: op}
}

func (o outsider) Emit(event string, args ...any) error {
	return o.op.Emit(context.Background(), event, args...)
}

func (o outsider) SocketsJoin(rooms ...string) error {
	return o.op.SocketsJoin(context.Background(), rooms...)
}

func (o outsider) SocketsLeave(rooms ...string) error {
	return o.op.SocketsLeave(context.Background(), rooms...)
}

func (o outsider) DisconnectSockets() error { return o.op.DisconnectSockets(context.Background()) }
func (o outsider) DisconnectClients() error { return o.op.DisconnectClients(context.Background()) }

func (o outsider) serverSideEmit(event string, args ...any) error {
	return o.emitter.ServerSideEmit(context.Background(), event, args...)
}
