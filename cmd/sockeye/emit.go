package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter/redisadapter"
)

// emitCommand holds the flags of `sockeye emit`, which sends one event to clients of a cluster.
type emitCommand struct {
	clusterFlags

	Namespace string        `default:"/" help:"Namespace of the clients."`
	To        []string      `sep:"none" placeholder:"ROOM" help:"Only to the sockets in this room; may be given several times."`
	Except    []string      `sep:"none" placeholder:"ROOM" help:"Not to the sockets in this room; may be given several times."`
	Volatile  bool          `help:"Let clients that are not ready for more miss it."`
	Timeout   time.Duration `default:"5s" help:"How long Redis may take."`

	Event string   `arg:"" help:"Name of the event."`
	Args  []string `arg:"" optional:"" sep:"none" help:"Arguments of the event, each a JSON value, such as '\"text\"', 42 or '{\"a\":1}'."`
}

// Validate refuses what cannot be sent. It is called by the flag parser.
func (c *emitCommand) Validate() error {
	if len(c.Redis) == 0 {
		return errors.New("emit needs --redis")
	}
	if c.Timeout <= 0 {
		return fmt.Errorf("--timeout must be positive, got %v", c.Timeout)
	}
	for i, arg := range c.Args {
		if !json.Valid([]byte(arg)) {
			return fmt.Errorf("argument %d of the event is no JSON: %s (a text needs its quotes: '\"text\"')", i+1, arg)
		}
	}
	if c.Key != "" && c.flavour() == streamsAdapter {
		return errors.New("--key has no effect on what is sent through streams")
	}
	return c.check(c.flags())
}

// Run sends the event and ends when Redis has taken it.
func (c *emitCommand) Run(ctx context.Context, out *streams) error {
	rdb, err := c.client(slog.New(slog.NewTextHandler(out.stderr, nil)))
	if err != nil {
		return usageError{err}
	}
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	target := c.emitter(rdb).Of(c.Namespace).Except(c.Except...)
	if len(c.To) > 0 { // without a room everybody is meant
		target = target.To(c.To...)
	}
	if c.Volatile {
		target = target.Volatile()
	}
	args := make([]any, len(c.Args))
	for i, arg := range c.Args {
		args[i] = json.RawMessage(arg)
	}
	sent := make(chan error, 1)
	go func() { sent <- target.Emit(ctx, c.Event, args...) }() // ends at the latest when rdb is closed
	select {
	case err := <-sent:
		return err
	case <-ctx.Done():
		return fmt.Errorf("emit: %w, and whether Redis has taken the event is not known", ctx.Err())
	}
}

func (c *emitCommand) emitter(rdb redis.UniversalClient) *redisadapter.Emitter {
	switch c.flavour() {
	case shardedAdapter:
		return redisadapter.NewShardedEmitter(rdb, &redisadapter.ShardedEmitterOptions{
			ChannelPrefix: c.Key, SubscriptionMode: redisadapter.SubscriptionMode(c.SubscriptionMode),
		})
	case streamsAdapter:
		return redisadapter.NewStreamsEmitter(rdb, &redisadapter.StreamsEmitterOptions{
			StreamName: c.StreamName, StreamCount: c.StreamCount, MaxLen: c.StreamMaxLen,
		})
	default:
		return redisadapter.NewPubSubEmitter(rdb, &redisadapter.PubSubEmitterOptions{Key: c.Key})
	}
}
