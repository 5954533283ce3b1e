package redisadapter

import (
	"cmp"
	"context"
	"errors"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/freshrooms"
	"github.com/sockeye-io/sockeye/internal/classic"
	"github.com/sockeye-io/sockeye/internal/envelope"
)

// ErrReservedEvent is returned for an event whose name has a meaning of its own; it is the same error in all packages.
var ErrReservedEvent = adapter.ErrReservedEvent

// Emitter reaches the sockets of a cluster from a process that serves none. It writes for Node.js nodes, too: a room that is a whole number
// is the one of that number there as well as the one of that text. Each call is one command to Redis and returns when Redis
// has executed it; a command whose answer is lost is not sent again.
type Emitter = adapter.Emitter

// BroadcastOperator selects sockets for an Emitter.
type BroadcastOperator = adapter.BroadcastOperator

// emitterForm is the form in which the nodes of a cluster take what an emitter says. It may be used from any goroutine.
type emitterForm interface {
	command(ctx context.Context, namespace string, m *adapter.Message) (redis.Cmder, error)
}

// emitterWire is the adapter.EmitterWire over Redis.
type emitterWire struct {
	rdb  redis.UniversalClient
	form emitterForm
}

func newEmitter(rdb redis.UniversalClient, form emitterForm) *Emitter {
	return adapter.NewEmitter(emitterWire{rdb, form})
}

// Send executes what a message becomes.
func (w emitterWire) Send(ctx context.Context, namespace string, m *adapter.Message) error {
	cmd, err := w.form.command(ctx, namespace, m)
	if err != nil {
		return err
	}
	return w.rdb.Process(ctx, once{cmd})
}

// once keeps go-redis from sending a command again when it cannot know whether Redis has executed it.
type once struct{ redis.Cmder }

func (once) NoRetry() bool { return true }

// PubSubEmitterOptions configure NewPubSubEmitter. Both are those of the nodes' PubSubOptions.
type PubSubEmitterOptions struct {
	Key    string // Default: "socket.io".
	Parser Parser // Default: MessagePack.
}

// NewPubSubEmitter returns an emitter for the namespace "/" of a cluster of classic adapters, Go or Node, that does what
// @socket.io/redis-emitter 5.1 does. opts may be nil.
func NewPubSubEmitter(rdb redis.UniversalClient, opts *PubSubEmitterOptions) *Emitter {
	var w pubSubEmitter
	if opts != nil {
		w.opts = *opts
	}
	w.opts.Key = cmp.Or(w.opts.Key, defaultKey)
	return newEmitter(rdb, w)
}

// pubSubEmitter is the emitterForm of classic adapters.
type pubSubEmitter struct{ opts PubSubEmitterOptions }

func (e pubSubEmitter) command(ctx context.Context, namespace string, m *adapter.Message) (redis.Cmder, error) {
	channel, body, err := classic.New(e.opts.Key, namespace, classic.Emitter, encodingOf(e.opts.Parser)).ForNode().Encode(m)
	if err != nil {
		return nil, err
	}
	return redis.NewIntCmd(ctx, "publish", channel, body), nil
}

// ShardedEmitterOptions configure NewShardedEmitter. Both are those of the nodes' ShardedOptions.
type ShardedEmitterOptions struct {
	ChannelPrefix    string           // Default: "socket.io".
	SubscriptionMode SubscriptionMode // Default: Dynamic.
}

// NewShardedEmitter returns an emitter for the namespace "/" of a cluster of sharded adapters, Go or Node. There is none
// in npm; it writes what a node would write. opts may be nil.
func NewShardedEmitter(rdb redis.UniversalClient, opts *ShardedEmitterOptions) *Emitter {
	w := shardedEmitter{fresh: new(freshrooms.Rooms)}
	if opts != nil {
		w.opts = *opts
	}
	w.opts.ChannelPrefix = cmp.Or(w.opts.ChannelPrefix, defaultKey)
	w.opts.SubscriptionMode = cmp.Or(w.opts.SubscriptionMode, Dynamic)
	return newEmitter(rdb, w)
}

// shardedEmitter is the emitterForm of sharded adapters.
type shardedEmitter struct {
	opts  ShardedEmitterOptions
	fresh *freshrooms.Rooms // of all namespaces
}

func (e shardedEmitter) command(ctx context.Context, namespace string, m *adapter.Message) (redis.Cmder, error) {
	if err := e.opts.SubscriptionMode.check(); err != nil {
		return nil, err
	}
	codec, err := envelope.New(envelope.Emitter, namespace, nil)
	if err != nil {
		return nil, err
	}
	body, err := codec.ForNode().Sharded(m)
	if err != nil {
		return nil, err
	}
	e.fresh.Note(m, freshrooms.For)
	channels := channelsOf(e.opts.ChannelPrefix, namespace, e.opts.SubscriptionMode)
	channel := channels.of(m)
	if channel != channels.main && e.fresh.ToAll(m) {
		channel = channels.main
	}
	return redis.NewIntCmd(ctx, "spublish", channel, body), nil
}

// StreamsEmitterOptions configure NewStreamsEmitter. All are those of the nodes' StreamsOptions.
type StreamsEmitterOptions struct {
	StreamName    string // Default: "socket.io".
	StreamCount   int    // Default: 1.
	MaxLen        int    // Default: 10,000.
	OnlyPlaintext bool
}

// NewStreamsEmitter returns an emitter for the namespace "/" of a cluster of streams adapters, Go or Node, that does what
// @socket.io/redis-streams-emitter 0.1 does. With a StreamCount above 1 it writes to streams that every node reads,
// which that package does not. opts may be nil.
func NewStreamsEmitter(rdb redis.UniversalClient, opts *StreamsEmitterOptions) *Emitter {
	var w streamsEmitter
	if opts != nil {
		w.opts = *opts
	}
	w.opts.StreamName = cmp.Or(w.opts.StreamName, defaultKey)
	w.opts.StreamCount = cmp.Or(w.opts.StreamCount, 1)
	w.opts.MaxLen = cmp.Or(w.opts.MaxLen, defaultMaxLen)
	return newEmitter(rdb, w)
}

// streamsEmitter is the emitterForm of streams adapters.
type streamsEmitter struct{ opts StreamsEmitterOptions }

func (e streamsEmitter) command(ctx context.Context, namespace string, m *adapter.Message) (redis.Cmder, error) {
	if e.opts.StreamCount < 1 || e.opts.MaxLen < 1 {
		return nil, errors.New("stream options must be positive")
	}
	codec, err := envelope.New(envelope.Emitter, namespace, nil)
	if err != nil {
		return nil, err
	}
	entry, err := codec.ForNode().Entry(m, e.opts.OnlyPlaintext)
	if err != nil {
		return nil, err
	}
	return xadd(ctx, e.stream(namespace), e.opts.MaxLen, entry), nil
}

// stream is the one that a node would write to, unless its number is negative: Node does not read those.
func (e streamsEmitter) stream(namespace string) string {
	if e.opts.StreamCount == 1 {
		return e.opts.StreamName
	}
	n := streamNumber(namespace, e.opts.StreamCount)
	return e.opts.StreamName + "-" + strconv.Itoa(max(n, -n))
}
